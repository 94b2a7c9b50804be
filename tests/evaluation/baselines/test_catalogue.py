"""What holds for every free alternative: counts, sources, seeds, and originals left alone."""

from dataclasses import replace

import pytest
import torch

from paramdiff.evaluation.baselines.anchors import NUM_ANCHORS
from paramdiff.evaluation.baselines.catalogue import BASELINES

from .material import SIZE, built, material, raw_originals

ALONE = {"average@all", "greedy_soup"}  # one network each, whatever the seed
WITH_SOURCE = ("noise", "kde", "permuted")

every_baseline = pytest.mark.parametrize("baseline", BASELINES, ids=lambda one: one.name)


def fitting(baseline, num):
    return material(raw_originals(max(num, baseline.min_originals)))


def test_names_are_unique_and_hold_what_is_promised():
    names = [baseline.name for baseline in BASELINES]
    assert len(set(names)) == len(names)
    assert set(names) >= {
        *("noise@0.001", "noise@0.05", "noise@0.15", "noise_absolute@0.06"),
        *(f"average@{k}" for k in (2, 4, 8, 16, 64, "all")),
        *("greedy_soup", "interpolation", "kde", "random", "permuted"),
        *("swag@0.5", "swag@1.0", "gaussian@0.25", "gaussian@1.0", "gaussian@1.5"),
    }


@every_baseline
@pytest.mark.parametrize("num", [1, 2, 6])
def test_the_originals_are_never_changed(baseline, num):
    given = fitting(baseline, num)
    before = given.originals.clone(), given.latents.clone()
    construction = built(baseline, given)
    assert given.originals.equal(before[0]) and given.latents.equal(before[1])
    construction.vectors.zero_()
    assert given.originals.equal(before[0])


@every_baseline
def test_the_generator_determines_the_result(baseline):
    before = torch.get_rng_state()
    given = fitting(baseline, max(6, baseline.min_originals + 1))
    one, same, other = (built(baseline, given, seed=seed) for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(before)
    assert one.vectors.equal(same.vectors)
    assert one.vectors.equal(other.vectors) == (baseline.name in ALONE)


@every_baseline
@pytest.mark.parametrize("num", [1, 6])
@pytest.mark.parametrize("count", [1, 4, 13])
def test_counts_and_shapes(baseline, num, count):
    given = fitting(baseline, num)
    num = len(given.originals)
    construction = built(baseline, given, count)
    expected = 1 if baseline.name in ALONE else count
    if baseline.name == "random":
        expected = min(count, NUM_ANCHORS)
    if baseline.name == "permuted":
        expected = min(count, num, NUM_ANCHORS)
    assert construction.vectors.shape == (expected, SIZE)
    assert torch.isfinite(construction.vectors).all()
    assert (construction.source is not None) == baseline.name.startswith(WITH_SOURCE)
    if construction.source is not None:
        assert construction.source.shape == (expected,)
        assert 0 <= construction.source.min() and construction.source.max() < num


@every_baseline
def test_what_cannot_be_made_says_why(baseline):
    assert baseline.missing(fitting(baseline, 1)) is None
    few = material(raw_originals(max(1, baseline.min_originals - 1)))
    if baseline.min_originals > 1:
        assert baseline.missing(few) == f"needs {baseline.min_originals} checkpoints"
    without = replace(fitting(baseline, 1), untrained=None)
    expected = "needs the network" if baseline.name == "random" else None
    assert baseline.missing(without) == expected


def test_only_the_greedy_soup_looks_at_labels():
    used = {baseline.name: baseline.data.kind for baseline in BASELINES}
    assert used.pop("greedy_soup") == "labels"
    assert set(used.values()) == {"none"}
