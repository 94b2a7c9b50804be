"""Moments of the fitted distributions, against closed forms."""

from dataclasses import replace

import pytest
import torch

from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.methods.gaussians import GAUSSIAN
from paramdiff.methods.swag import MULTISWAG, RANK, SWAG

from .contexts import SIZE, built, context, generator, raw_originals


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_gaussian_moments(scale):
    vectors = context().originals[:, :50]
    draws = built(GAUSSIAN.at(scale), context(originals=vectors), 20_000).vectors
    mean, std = vectors.mean(0), vectors.std(0)
    assert ((draws.mean(0) - mean) / (scale * std / 20_000**0.5)).abs().max() < 4.5
    torch.testing.assert_close(draws.std(0), scale * std, rtol=0.03, atol=0)
    correlation = torch.corrcoef(draws.T) - torch.eye(50)
    assert correlation.abs().max() < 0.04  # coordinates are independent


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_gaussian_dispersion_is_its_scale(scale):
    given = context()
    draws = built(GAUSSIAN.at(scale), given, 400).vectors
    assert dispersion(draws, given.originals) == pytest.approx(scale, rel=0.05)


def test_gaussian_0_is_the_mean():
    given = context()
    samples = built(GAUSSIAN.at(0), given)
    assert samples.vectors.shape == (1, SIZE)
    assert samples.vectors[0].equal(given.originals.double().mean(0).float())


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("num", [1, 4])
def test_the_gaussian_of_equal_checkpoints_is_that_checkpoint(scale, num):
    given = context(raw_originals(1).repeat(num, 1))
    torch.testing.assert_close(
        built(GAUSSIAN.at(scale), given).vectors,
        given.originals[:1].expand(9, -1),
        rtol=1e-5,
        atol=1e-5,
    )


def test_names_tell_the_strength():
    assert GAUSSIAN.at(1.0).name == "gaussian@1.0"
    assert GAUSSIAN.at(0.123456).name == "gaussian@0.123"
    assert SWAG.at(0.5).name == "swag@0.5"


def test_swag_has_half_the_diagonal_and_half_the_low_rank_covariance():
    vectors = torch.randn(40, 3, generator=generator(5)) @ torch.diag(torch.tensor([1.0, 2, 3]))
    drawn = built(SWAG.at(0.7), context(originals=vectors), 200_000).vectors.double()
    count = torch.arange(1, 41)[:, None]
    deviations = (vectors - vectors.cumsum(0) / count)[-RANK:].double()
    low_rank = deviations.T @ deviations / (RANK - 1)
    diagonal = torch.diag(vectors.double().var(0, correction=0))
    expected = 0.7**2 * (diagonal + low_rank) / 2
    assert drawn.T.cov().allclose(expected, atol=0.02 * float(expected.max()))
    assert drawn.mean(0).allclose(vectors.mean(0).double(), atol=0.03)


def test_swag_of_two_originals_has_both_halves():
    """The deviation from the running mean is 0 for the first and half the gap for the second."""
    vectors = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    drawn = built(SWAG.at(1.0), context(originals=vectors), 100_000).vectors.double()
    # diagonal: population variance 1; low rank: (2 - 1)^2 / (2 - 1) = 1
    assert drawn.T.cov()[0, 0].item() == pytest.approx((1 + 1) / 2, rel=0.02)
    assert drawn[:, 1].eq(0).all()


def test_multiswag_is_the_swag_of_each_run_in_turn():
    given = context(raw_originals(30))
    runs = torch.arange(30) % 2
    both = built(MULTISWAG.at(0.7), replace(given, runs=runs), 40_000).vectors
    for run in (0, 1):
        alone = replace(given, originals=given.originals[runs == run])
        expected = built(SWAG.at(0.7), alone, 40_000, seed=1).vectors
        width = expected.std(0).clamp_min(1e-6)
        found = both[run::2]
        assert ((found.mean(0) - expected.mean(0)) / width).abs().max() < 0.06
        torch.testing.assert_close(found.std(0), expected.std(0), rtol=0.06, atol=1e-6)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        *((None, False), ([0, 0, 0, 0], False), ([0, 1, 2, 3], False), ([0, 0, 0, 1], False)),
        *(([0, 1, 0, 1], True), ([5, 2, 2, 5], True)),
    ],
)
def test_several_trajectories_are_several_checkpoints_of_several_runs(runs, expected):
    given = context(raw_originals(4), runs=None if runs is None else torch.tensor(runs))
    assert given.has_several_trajectories == expected
