"""What a user gets for free: closed forms, moments, and originals that are never written to."""

import pytest
import torch

from paramdiff.evaluation.baselines import (
    BASELINES,
    SWAG_RANK,
    average,
    average_all,
    gaussian,
    interpolation,
    noise,
    swag,
)
from paramdiff.evaluation.spread import dispersion
from paramdiff.parameters.layout import ParameterLayout

STATE = {
    "small.weight": torch.zeros(30, 20),
    "bias": torch.zeros(2),
    "big.weight": torch.zeros(500),
}
LAYOUT = ParameterLayout.of(STATE, list(STATE))
SIZE = LAYOUT.num_parameters


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def originals(num=6, seed=1):
    """Each checkpoint's tensors have spreads of their own, between 0.01 and 30."""
    vectors = torch.randn(num, SIZE, generator=generator(seed))
    for number, slot in enumerate(LAYOUT.slots):
        own = torch.logspace(-2 + number, number - 0.5, num)[:, None]
        vectors[:, slot.start : slot.stop] *= own
    return vectors


def built(baseline, vectors=None, count=9, seed=0):
    vectors = originals() if vectors is None else vectors
    return baseline.build(vectors, LAYOUT, count, generator(seed))


def identify(baseline):
    return baseline.name


@pytest.mark.parametrize("baseline", BASELINES, ids=identify)
@pytest.mark.parametrize("num", [1, 2, 6])
def test_the_originals_are_never_changed(baseline, num):
    vectors = originals(max(num, baseline.min_originals))
    before = vectors.clone()
    construction = built(baseline, vectors)
    assert vectors.equal(before)
    construction.vectors.zero_()
    assert vectors.equal(before)


@pytest.mark.parametrize("baseline", BASELINES, ids=identify)
def test_the_generator_determines_the_result(baseline):
    before = torch.get_rng_state()
    vectors = originals(max(6, baseline.min_originals + 1))
    one, same, other = (built(baseline, vectors, seed=seed) for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(before)
    assert one.vectors.equal(same.vectors)
    assert one.vectors.equal(other.vectors) == (baseline.name == "average@all")


@pytest.mark.parametrize("baseline", BASELINES, ids=identify)
@pytest.mark.parametrize("num", [1, 6])
@pytest.mark.parametrize("count", [1, 4, 13])
def test_counts_and_shapes(baseline, num, count):
    construction = built(baseline, originals(max(num, baseline.min_originals)), count)
    expected = 1 if baseline.name == "average@all" else count
    assert construction.vectors.shape == (expected, SIZE)
    assert torch.isfinite(construction.vectors).all()
    assert (construction.source is None) == (not baseline.name.startswith("noise"))


def test_names_are_unique_and_hold_the_published_levels():
    names = [baseline.name for baseline in BASELINES]
    assert len(set(names)) == len(names)
    assert {"noise@0.001", "noise@0.05", "noise@0.15", "average@all", "gaussian@1.0"} <= set(names)


def test_noise_0_is_the_identity():
    vectors = originals()
    construction = built(noise(0.0), vectors, 15)
    assert construction.vectors.equal(vectors[construction.source])


@pytest.mark.parametrize("count", [1, 5, 6, 7, 12, 20])
def test_every_original_is_used_equally_often(count):
    source = built(noise(0.05), count=count).source
    assert len(source) == count
    uses = torch.bincount(source, minlength=6)
    assert uses.max() - uses.min() <= 1


def test_originals_are_used_in_a_shuffled_order():
    orders = {tuple(built(noise(0.05), seed=seed).source.tolist()) for seed in range(8)}
    assert len(orders) > 4


def test_noise_has_the_spread_of_its_own_tensor_as_unit():
    vectors = originals()
    construction = built(noise(0.15), vectors)
    source = vectors[construction.source]
    residual = construction.vectors - source
    for slot in (LAYOUT.slots[0], LAYOUT.slots[2]):
        place = slice(slot.start, slot.stop)
        ratio = residual[:, place].std(1) / (0.15 * source[:, place].std(1))
        assert (ratio - 1).abs().max() < 0.15  # 500 draws or more
        standardised = residual[:, place] / (0.15 * source[:, place].std(1, keepdim=True))
        assert standardised.mean().abs() < 0.06


def test_the_unit_is_the_unbiased_deviation():
    """Of two elements it is larger by sqrt(2) than the other one: easily told apart."""
    slot = LAYOUT.slots[1]
    vectors = torch.zeros(1, SIZE)
    vectors[0, slot.start : slot.stop] = torch.tensor([-1.0, 1.0])
    construction = built(noise(1.0), vectors, 4000)
    residual = (construction.vectors - vectors)[:, slot.start : slot.stop]
    assert residual.std().item() == pytest.approx(2**0.5, rel=0.05)
    assert construction.vectors[:, : slot.start].eq(0).all()  # a constant tensor has no unit


def test_noise_is_proportional_to_its_level():
    vectors = originals()
    low, high = (built(noise(level), vectors) for level in (0.05, 0.2))
    assert low.source.equal(high.source)
    source = vectors[low.source]
    torch.testing.assert_close(
        high.vectors - source, 4 * (low.vectors - source), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_gaussian_moments(scale):
    vectors = originals()[:, :50]
    draws = gaussian(scale).build(vectors, LAYOUT, 20_000, generator()).vectors
    mean, std = vectors.mean(0), vectors.std(0)
    assert ((draws.mean(0) - mean) / (scale * std / 20_000**0.5)).abs().max() < 4.5
    torch.testing.assert_close(draws.std(0), scale * std, rtol=0.03, atol=0)
    correlation = torch.corrcoef(draws.T) - torch.eye(50)
    assert correlation.abs().max() < 0.04  # coordinates are independent


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_gaussian_dispersion_is_its_scale(scale):
    vectors = originals()
    draws = built(gaussian(scale), vectors, 400).vectors
    assert dispersion(draws, vectors) == pytest.approx(scale, rel=0.05)


def test_gaussian_0_is_the_mean():
    construction = built(gaussian(0))
    assert construction.vectors.shape == (1, SIZE)
    assert construction.vectors[0].equal(originals().mean(0))


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_gaussian_of_equal_checkpoints_is_that_checkpoint(scale):
    one = originals(1)
    for vectors in (one, one.repeat(4, 1)):
        torch.testing.assert_close(
            built(gaussian(scale), vectors).vectors, one.expand(9, -1), rtol=1e-5, atol=1e-5
        )


def test_the_average_is_the_mean_of_all():
    construction = built(average_all())
    expected = originals().double().mean(0).float()
    torch.testing.assert_close(construction.vectors, expected[None], rtol=1e-5, atol=1e-6)


def test_the_average_of_equal_checkpoints_is_that_checkpoint():
    one = originals(1)
    assert built(average_all(), one).vectors.equal(one)
    assert built(average_all(), one.repeat(4, 1)).vectors.equal(one)


def test_names_tell_the_strength():
    assert noise(0.05).name == "noise@0.05"
    assert gaussian(1.0).name == "gaussian@1.0"
    assert gaussian(0.123456, "gaussian@0.12").name == "gaussian@0.12"


def test_averages_of_equal_checkpoints_are_that_checkpoint():
    vectors = originals(1).expand(8, -1)
    for baseline in (average(2), average(8), interpolation()):
        assert built(baseline, vectors).vectors.allclose(vectors[:1], rtol=1e-5)


def test_an_average_of_all_members_is_the_average_of_all():
    vectors = originals(6)
    assert built(average(6), vectors).vectors.allclose(vectors.mean(0), rtol=1e-4, atol=1e-5)


def test_an_average_draws_different_originals():
    vectors = torch.eye(6, SIZE)  # a member shows in its own coordinate
    shares = built(average(4), vectors, count=50).vectors[:, :6]
    assert shares.gt(0).sum(1).eq(4).all()
    assert shares.sum(1).allclose(torch.ones(50))
    assert len(shares.unique(dim=0)) > 5


def test_averages_of_k_spread_as_their_number_tells():
    vectors = torch.randn(200, SIZE, generator=generator())
    spread = dispersion(built(average(16), vectors, count=400).vectors, vectors)
    assert spread == pytest.approx(((1 / 16) * (1 - 15 / 199)) ** 0.5, rel=0.05)


def test_interpolations_lie_between_two_originals():
    vectors = torch.eye(6, SIZE)
    shares = built(interpolation(), vectors, count=50).vectors[:, :6]
    assert shares.gt(0).sum(1).eq(2).all()
    assert shares.sum(1).allclose(torch.ones(50))


def test_swag_has_half_the_diagonal_and_half_the_low_rank_covariance():
    vectors = torch.randn(40, 3, generator=generator(5)) @ torch.diag(torch.tensor([1.0, 2, 3]))
    layout = ParameterLayout.of({"a": torch.zeros(3)}, ["a"])
    drawn = swag(0.7).build(vectors, layout, 200_000, generator()).vectors.double()
    count = torch.arange(1, 41)[:, None]
    deviations = (vectors - vectors.cumsum(0) / count)[-SWAG_RANK:].double()
    low_rank = deviations.T @ deviations / (SWAG_RANK - 1)
    diagonal = torch.diag(vectors.double().var(0, correction=0))
    expected = 0.7**2 * (diagonal + low_rank) / 2
    assert drawn.T.cov().allclose(expected, atol=0.02 * float(expected.max()))
    assert drawn.mean(0).allclose(vectors.mean(0).double(), atol=0.03)
