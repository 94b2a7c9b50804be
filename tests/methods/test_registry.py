"""What holds for every free alternative: counts, sources, seeds, and originals left alone."""

from dataclasses import replace

import pytest
import torch

from paramdiff.methods.controls import NUM_ANCHORS
from paramdiff.methods.registry import BASELINES, CONSTRUCTIONS, FAMILIES

from .material import SIZE, built, material, raw_originals

ALONE = {"average@all", "greedy_soup"}  # one network each, whatever the seed
WITH_SOURCE = ("noise", "kde", "permuted")

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
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
    before = given.originals.clone(), given.raw.clone()
    construction = built(baseline, given)
    assert given.originals.equal(before[0]) and given.raw.equal(before[1])
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


CONTROLS = {"random", "permuted"}


def test_methods_finish_with_new_statistics_and_controls_do_not():
    assert {one.name for one in CONSTRUCTIONS if not one.finishes} == CONTROLS
    assert all(family.at(family.largest).finishes for family in FAMILIES)


@every_family
def test_names_tell_strengths_to_three_digits_and_strengths_are_what_they_tell(family):
    strengths = [0.01, 0.0101, 0.1, 0.123, 0.124, 0.25, 0.5]
    names = [family.at(strength).name for strength in strengths]
    assert names == [f"{family.name}@{strength}" for strength in strengths]
    assert family.at(0.12345).name == family.at(0.123).name == f"{family.name}@0.123"
    assert family.at(1).name == f"{family.name}@1.0"
    assert not set(names) & {one.name for one in CONSTRUCTIONS}
    given = runs_of_three()
    one, same = (built(family.at(strength), given).vectors for strength in (0.12345, 0.123))
    assert one.equal(same)


def runs_of_three():
    return material(raw_originals(12), runs=torch.arange(12) // 3)


@every_family
def test_fixed_strengths_lie_in_the_range_of_a_search(family):
    assert 0 < family.smallest < family.largest
    assert all(family.smallest <= strength <= family.largest for strength in family.fixed)


@every_family
def test_members_change_smoothly_with_their_strength(family):
    """For one seed: deviations from strength to strength are in proportion."""
    given = runs_of_three()
    far, near, tiny = (
        built(family.at(strength), given, count=20).vectors for strength in (0.4, 0.2, 0.002)
    )
    linear = torch.ones(SIZE, dtype=torch.bool)
    for slot in given.layout.slots:  # raw noise and averages are not linear in log values
        linear[slot.start : slot.stop] = not slot.is_running_variance
    start = tiny - (near - tiny) * (0.002 / 0.198)
    torch.testing.assert_close(
        (far - start)[:, linear], 2 * (near - start)[:, linear], rtol=1e-3, atol=2e-3
    )
    assert not far.allclose(near)
    assert (built(family.at(0.201), given, count=20).vectors - near).norm() < 0.02 * (
        far - near
    ).norm()


@every_family
@pytest.mark.parametrize("strength", ["smallest", "largest"])
def test_running_variances_stay_positive_at_any_strength(family, strength):
    given = runs_of_three()
    made = built(family.at(getattr(family, strength)), given, count=200)
    raw = given.normalization.invert(made.vectors) if made.raw is None else made.raw
    for slot in given.layout.slots:
        if slot.is_running_variance:
            assert raw[:, slot.start : slot.stop].min() > 0
    assert torch.isfinite(raw).all()


@every_family
def test_a_family_that_cannot_be_made_says_why(family):
    assert family.missing(runs_of_three()) is None
    alone = material(raw_originals(1))
    expected = {
        **dict.fromkeys(("gaussian", "noise", "noise_absolute")),
        "multiswag": "needs several runs with several checkpoints each",
    }
    assert family.missing(alone) == expected.get(family.name, "needs 2 checkpoints")
    assert (family.missing(material(raw_originals(6))) is None) == (family.name != "multiswag")
