"""Added noise: its unit, and the originals that it is added to."""

import pytest
import torch

from paramdiff.methods.noise import NOISE, NOISE_ABSOLUTE

from .contexts import LAYOUT, SIZE, built, context, generator, raw_originals

WEIGHTS = [LAYOUT.slots[0], LAYOUT.slots[3]]


def test_noise_0_is_the_identity():
    given = context()
    samples = built(NOISE.at(0.0), given, 15)
    assert samples.vectors.equal(given.originals[samples.source])


@pytest.mark.parametrize("member", [NOISE.at(0.05), NOISE_ABSOLUTE.at(0.06)])
@pytest.mark.parametrize("count", [1, 5, 6, 7, 12, 20])
def test_every_original_is_used_equally_often(member, count):
    source = built(member, count=count).source
    assert len(source) == count
    uses = torch.bincount(source, minlength=6)
    assert uses.max() - uses.min() <= 1


def test_originals_are_used_in_a_shuffled_order():
    orders = {tuple(built(NOISE.at(0.05), seed=seed).source.tolist()) for seed in range(8)}
    assert len(orders) > 4


def test_noise_has_the_spread_of_its_own_tensor_as_unit():
    given = context()
    samples = built(NOISE.at(0.15), given)
    source = given.originals[samples.source]
    residual = samples.vectors - source
    for slot in WEIGHTS:
        place = slice(slot.start, slot.stop)
        standardized = residual[:, place] / (0.15 * source[:, place].std(1, keepdim=True))
        assert (standardized.std(1) - 1).abs().max() < 0.15  # 500 draws or more
        assert standardized.mean().abs() < 0.06


def test_the_unit_is_the_unbiased_deviation():
    """Of two elements it is larger by sqrt(2) than the other one: easily told apart."""
    slot = LAYOUT.slots[1]
    vectors = torch.zeros(1, SIZE)
    vectors[0, slot.start : slot.stop] = torch.tensor([-1.0, 1.0])
    samples = built(NOISE.at(1.0), context(originals=vectors), 4000)
    residual = (samples.vectors - vectors)[:, slot.start : slot.stop]
    assert residual.std().item() == pytest.approx(2**0.5, rel=0.05)
    assert samples.vectors[:, : slot.start].eq(0).all()  # a constant tensor has no unit


def test_noise_is_proportional_to_its_level():
    given = context()
    low, high = (built(NOISE.at(level), given) for level in (0.05, 0.2))
    assert low.source.equal(high.source)
    source = given.originals[low.source]
    torch.testing.assert_close(
        high.vectors - source, 4 * (low.vectors - source), rtol=1e-2, atol=1e-4
    )


def test_relative_noise_means_the_same_in_raw_values():
    """Per-tensor normalization is affine: ``v + level * std(v) * n`` holds before it, too."""
    given = context()
    samples = built(NOISE.at(0.15), given)
    raw = given.normalization.invert(samples.vectors)
    source = raw_originals()[samples.source]
    for slot in WEIGHTS:
        place = slice(slot.start, slot.stop)
        unit = 0.15 * source[:, place].std(1, keepdim=True)
        assert ((raw - source)[:, place] / unit).std().item() == pytest.approx(1, rel=0.05)


def test_absolute_noise_is_in_raw_units_whatever_the_normalization():
    """Every tensor is disturbed by the same amount, small or large, variances among them."""
    raw = raw_originals(6)
    variances = LAYOUT.slots[2]
    raw[:, variances.start : variances.stop] += 3  # far above 0, where nothing is clipped
    given = context(raw)
    samples = built(NOISE_ABSOLUTE.at(0.06), given, count=600)
    residual = given.normalization.invert(samples.vectors) - raw[samples.source]
    for slot in LAYOUT.slots:
        part = residual[:, slot.start : slot.stop].double()
        assert part.std().item() == pytest.approx(0.06, rel=0.06), slot.name
        assert part.mean().item() == pytest.approx(0, abs=0.06 * 5 / part.numel() ** 0.5)


def test_absolute_noise_leaves_variances_positive():
    raw = raw_originals(4)
    variances = LAYOUT.slots[2]
    raw[:, variances.start : variances.stop] = torch.rand(
        4, variances.stop - variances.start, generator=generator()
    )
    given = context(raw)
    samples = built(NOISE_ABSOLUTE.at(5.0), given, count=50)
    found = given.normalization.invert(samples.vectors)
    assert found[:, variances.start : variances.stop].gt(0).all()
