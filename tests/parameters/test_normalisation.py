"""Normalization against the formulas of the paper's code, written out in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.parameters import normalization
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import fit_normalization, lost_variances

STATE = {
    "conv.weight": torch.zeros(3, 4),
    "bn.weight": torch.zeros(5),
    "bn.running_var": torch.zeros(5),
    "bn.running_mean": torch.zeros(5),
}
LAYOUT = ParameterLayout.of(STATE, list(STATE))
LOG = next(slot for slot in LAYOUT.slots if slot.name == "bn.running_var")
MODES = ["tensor", "centered", "coordinate"]


def zoo(num=6, seed=0):
    """Tensors of very different sizes; variances spread over two orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(num, LAYOUT.num_parameters, generator=generator)
    for slot, (scale, shift) in zip(
        LAYOUT.slots, [(0.05, 0.0), (0.3, 1.0), (1.0, 0.0), (10.0, -4.0)], strict=True
    ):
        vectors[:, slot.start : slot.stop] *= scale
        vectors[:, slot.start : slot.stop] += shift
    vectors[:, LOG.start : LOG.stop] = vectors[:, LOG.start : LOG.stop].exp()
    return vectors


def by_hand(vectors, slot, mode):
    """Location, scale and m of one tensor, checkpoint by checkpoint in float64."""
    raw = [row[slot.start : slot.stop].astype(np.float64) for row in vectors.numpy()]
    rows, m, columns, channels = raw, 0.0, np.stack(raw), np.zeros(len(raw[0]))
    if slot is LOG:
        own = [0.95 * row.mean() for row in rows]
        rows = [np.log(row / own_m + 0.05) for row, own_m in zip(rows, own, strict=True)]
        m = np.mean(own)
        channels = np.maximum(columns.min(0), 0.001 * columns.mean(0))
        columns = np.log(columns / channels + 0.05)
    location = np.full(len(rows[0]), np.mean([row.mean() for row in rows]))
    scale = np.full(len(rows[0]), np.mean([row.std(ddof=1) for row in rows]))
    if mode == "tensor":
        return location, scale, m
    return columns.mean(0), scale if mode == "centered" else columns.std(0, ddof=1), channels


@pytest.mark.parametrize("mode", MODES)
def test_the_constants_are_the_papers(mode):
    vectors = zoo()
    found = fit_normalization(vectors, LAYOUT, mode)
    for slot in LAYOUT.slots:
        location, scale, m = by_hand(vectors, slot, mode)
        place = slice(slot.start, slot.stop)
        np.testing.assert_allclose(found.location[place], location, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.scale[place], scale, rtol=1e-5)
        np.testing.assert_allclose(found.reference[place], m, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("values", [1, 11, 24])
def test_reading_in_blocks_changes_nothing(mode, values, monkeypatch):
    whole = fit_normalization(zoo(), LAYOUT, mode)
    monkeypatch.setattr(normalization, "_BLOCK_VALUES", values)
    blocks = fit_normalization(zoo(), LAYOUT, mode)
    for name in ("location", "scale", "reference"):
        torch.testing.assert_close(getattr(blocks, name), getattr(whole, name), rtol=1e-6, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_the_map_is_the_papers(mode):
    vectors = zoo()
    found = fit_normalization(vectors, LAYOUT, mode).apply(vectors)
    for slot in LAYOUT.slots:
        location, scale, m = by_hand(vectors, slot, mode)
        values = vectors[:, slot.start : slot.stop].double().numpy()
        domain = values
        if slot is LOG:
            domain = np.log(values / m + 0.05)
        np.testing.assert_allclose(
            found[:, slot.start : slot.stop], (domain - location) / scale, rtol=1e-4, atol=1e-4
        )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(MODES))
def test_invert_undoes_apply(seed, num, mode):
    vectors = zoo(num, seed)
    normalization = fit_normalization(vectors, LAYOUT, mode)
    normalized = normalization.apply(vectors)
    assert torch.isfinite(normalized).all()
    raw = normalization.invert(normalized)
    smallest = 0.001 * normalization.reference  # zero but for variances, which are clipped
    torch.testing.assert_close(raw, vectors.maximum(smallest.where(smallest > 0, vectors)),
                               rtol=1e-4, atol=1e-5)  # fmt: skip


def test_means_are_0_and_deviations_1_after_per_coordinate_normalization():
    vectors = zoo(8)
    normalized = fit_normalization(vectors, LAYOUT, "coordinate").apply(vectors)
    plain = [slot for slot in LAYOUT.slots if slot is not LOG]
    part = torch.cat([normalized[:, slot.start : slot.stop] for slot in plain], dim=1)
    torch.testing.assert_close(part.mean(0), torch.zeros(part.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(part.std(0), torch.ones(part.shape[1]), atol=1e-5, rtol=0)


def test_a_checkpoints_tensor_has_mean_0_and_deviation_1_after_per_tensor_normalization():
    vectors = zoo(1)
    normalized = fit_normalization(vectors, LAYOUT, "tensor").apply(vectors)
    for slot in LAYOUT.slots:
        part = normalized[0, slot.start : slot.stop]
        assert part.mean().abs() < 1e-5
        assert (part.std() - 1).abs() < 1e-5


def uneven(num=8, seed=0):
    """Inputs of 0.01, 10 and 30,000: their variances and means, and one scalar."""
    generator = torch.Generator().manual_seed(seed)
    variances = (
        torch.tensor([1e-4, 1e2, 9e8]) * (0.1 * torch.randn(num, 3, generator=generator)).exp()
    )
    means = torch.tensor([0.03, 40.0, 5e4]) * (1 + 0.01 * torch.randn(num, 3, generator=generator))
    gates = torch.randn(num, 1, generator=generator)
    return torch.cat([variances, means, gates], 1)


UNEVEN = ParameterLayout.of(
    {"running_var": torch.ones(3), "running_mean": torch.ones(3), "gate": torch.ones(1)},
    ["running_var", "running_mean", "gate"],
)


@pytest.mark.parametrize("mode", ["centered", "coordinate"])
def test_small_channels_survive_beside_large_ones(mode):
    vectors = uneven()
    normalization = fit_normalization(vectors, UNEVEN, mode)
    found = normalization.invert(normalization.apply(vectors))
    torch.testing.assert_close(found, vectors, rtol=1e-4, atol=0)
    spread = (found - found.mean(0)).std(0) / (vectors - vectors.mean(0)).std(0)
    torch.testing.assert_close(spread, torch.ones(7), rtol=1e-2, atol=0)


def test_a_variance_that_falls_over_decades_survives():
    vectors = torch.logspace(0, -3, 8)[:, None] * torch.tensor([1.0, 1e-6])
    layout = ParameterLayout.of({"running_var": torch.ones(2)}, ["running_var"])
    normalization = fit_normalization(vectors, layout, "centered")
    torch.testing.assert_close(
        normalization.invert(normalization.apply(vectors)), vectors, rtol=1e-4, atol=0
    )
    low = normalization.invert(torch.full((2,), -1e4))
    assert (low > 0).all() and (low < vectors.amin(0)).all()


def test_the_papers_normalization_raises_small_variances_and_says_which():
    vectors = uneven()
    assert lost_variances(vectors, UNEVEN, "tensor") == ["running_var"]
    assert lost_variances(vectors, UNEVEN, "centered") == []
    assert lost_variances(zoo(), LAYOUT, "tensor") == []


def test_tensors_count_as_much_in_both_modes():
    vectors = zoo()
    per_tensor, centered = (fit_normalization(vectors, LAYOUT, one) for one in MODES[:2])
    assert centered.scale.equal(per_tensor.scale)
    both = [one.apply(vectors) for one in (per_tensor, centered)]
    plain = slice(0, LOG.start)
    torch.testing.assert_close(
        *(one[:, plain] - one[:, plain].mean(0) for one in both), atol=1e-5, rtol=1e-4
    )


def test_a_single_element_is_relative_to_its_size():
    layout = ParameterLayout.of({"temperature": torch.ones(1)}, ["temperature"])
    for size in (1e-6, 1.0, 1e6):
        vectors = size * torch.tensor([[0.9], [1.0], [1.1]])
        normalization = fit_normalization(vectors, layout, "centered")
        found = normalization.apply(vectors)
        torch.testing.assert_close(found[:, 0], torch.tensor([-0.1, 0, 0.1]), rtol=1e-2, atol=1e-5)
        torch.testing.assert_close(normalization.invert(found), vectors)


def test_an_offset_in_double_precision_keeps_its_changes():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    layout = ParameterLayout.of({"a": torch.ones(5, dtype=torch.float64)}, ["a"])
    normalization = fit_normalization(1e6 + 1e-3 * noise, layout, "centered")
    found = normalization.invert(normalization.apply(1e6 + 1e-3 * noise).float())
    torch.testing.assert_close((found - 1e6) * 1e3, noise, rtol=1e-4, atol=1e-4)


def test_generated_variances_stay_positive():
    normalization = fit_normalization(zoo(), LAYOUT, "tensor")
    m = normalization.reference[LOG.start]
    low = torch.full((LAYOUT.num_parameters,), -1e4)
    raw = normalization.invert(low)
    torch.testing.assert_close(raw[LOG.start : LOG.stop], (0.001 * m).expand(5))
    assert (raw[: LOG.start] < 0).all()  # nothing else is clipped
    assert torch.isfinite(normalization.invert(-low)).all()


def test_negative_variances_have_a_logarithm():
    vectors = zoo()
    normalization = fit_normalization(vectors, LAYOUT, "tensor")
    vectors[:, LOG.start : LOG.stop] = -1.0
    assert torch.isfinite(normalization.apply(vectors)).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1234.567, 1e-30])
def test_a_constant_tensor_is_only_shifted(mode, value):
    vectors = zoo(4)
    place = slice(LAYOUT.slots[1].start, LAYOUT.slots[1].stop)
    vectors[:, place] = value
    normalization = fit_normalization(vectors, LAYOUT, mode)
    normalized = normalization.apply(vectors)
    assert normalization.scale[place].eq(1).all()
    assert normalized[:, place].eq(0).all()
    assert normalization.invert(normalized)[:, place].equal(vectors[:, place])
    assert torch.isfinite(normalized).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_variances_are_finite(mode, value):
    vectors = zoo(4)
    vectors[:, LOG.start : LOG.stop] = value
    normalization = fit_normalization(vectors, LAYOUT, mode)
    raw = normalization.invert(normalization.apply(vectors))
    torch.testing.assert_close(raw, vectors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_variances_that_vanish_in_one_checkpoint_are_finite(mode):
    vectors = zoo(4)
    vectors[1, LOG.start : LOG.stop] = 0.0
    normalization = fit_normalization(vectors, LAYOUT, mode)
    assert torch.isfinite(normalization.apply(vectors)).all()
    assert torch.isfinite(normalization.scale).all()


@pytest.mark.parametrize("mode", MODES)
def test_one_checkpoint(mode):
    vectors = zoo(1)
    normalization = fit_normalization(vectors, LAYOUT, mode)
    if mode == "coordinate":
        assert normalization.scale.eq(1).all()
    normalized = normalization.apply(vectors)
    assert torch.isfinite(normalized).all()
    torch.testing.assert_close(normalization.invert(normalized), vectors, rtol=1e-4, atol=1e-5)


def test_the_checkpoints_are_not_changed():
    vectors = zoo()
    before = vectors.clone()
    normalization = fit_normalization(vectors, LAYOUT, "tensor")
    normalization.invert(normalization.apply(vectors))
    assert vectors.equal(before)
