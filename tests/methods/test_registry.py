"""Properties of every member and control: counts, sources, seeds, originals left alone."""

from dataclasses import replace

import pytest
import torch

from paramdiff.methods.controls import NUM_CONTROLS
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.methods.registry import METHODS

from .contexts import MEMBERS, SIZE, built, context, raw_originals

SINGLE = {"last", "ema", "power_ema", "decayed", "top", "greedy_soup", "karcher_mean"}
SINGLE |= {"wise_ft", "task_arithmetic", "model_stock"}
AS_THEY_ARE = {"last_checkpoint", "best_checkpoint"}
SINGLE |= AS_THEY_ARE
"""Methods of one network for a run."""
WITH_SOURCE = ("noise", "kde", "permuted", *AS_THEY_ARE)

MATCHED = [one for one in METHODS.values() if one.strengths.matched is not None]
UNMATCHED = [one for one in MEMBERS if one.strength is None or one.method not in MATCHED]

every_method = pytest.mark.parametrize("method", MATCHED, ids=lambda one: one.name)
every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda one: one.name)


def is_single(member):
    return member.name == "average@all" or member.method.name in SINGLE


def fitting(member, num):
    return context(raw_originals(max(num, member.min_originals)))


def test_names_are_unique_and_hold_what_is_promised():
    names = [member.name for member in MEMBERS]
    assert len(set(names)) == len(names)
    assert set(names) >= {
        *("noise@0.001", "noise@0.05", "noise@0.15", "noise_absolute@0.06"),
        *(f"average@{k}" for k in (2, 4, 8, 16, 64, "all")),
        *("greedy_soup", "interpolation", "kde", "random", "permuted"),
        *("swag@0.5", "swag@1.0", "gaussian@0.25", "gaussian@1.0", "gaussian@1.5"),
    }


@every_member
@pytest.mark.parametrize("num", [1, 2, 6])
def test_the_originals_are_never_changed(member, num):
    given = fitting(member, num)
    before = given.originals.clone(), given.raw.clone()
    samples = built(member, given)
    assert given.originals.equal(before[0]) and given.raw.equal(before[1])
    samples.vectors.zero_()
    assert given.originals.equal(before[0])


@every_member
def test_the_generator_determines_the_result(member):
    before = torch.get_rng_state()
    given = fitting(member, max(6, member.min_originals + 1))
    one, same, other = (built(member, given, seed=seed) for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(before)
    assert one.vectors.equal(same.vectors)
    by_scores = {"top", "best_checkpoint"}  # which are equal here
    draws_nothing = is_single(member) and member.method.name not in by_scores
    assert one.vectors.equal(other.vectors) == draws_nothing


@every_member
@pytest.mark.parametrize("num", [1, 6])
@pytest.mark.parametrize("count", [1, 4, 13])
def test_counts_and_shapes(member, num, count):
    given = fitting(member, num)
    num = len(given.originals)
    samples = built(member, given, count)
    expected = 1 if is_single(member) else count
    if member.name == "random":
        expected = min(count, NUM_CONTROLS)
    if member.name == "permuted":
        expected = min(count, num, NUM_CONTROLS)
    assert samples.vectors.shape == (expected, SIZE)
    assert torch.isfinite(samples.vectors).all()
    assert (samples.source is not None) == member.name.startswith(WITH_SOURCE)
    if samples.source is not None:
        assert samples.source.shape == (expected,)
        assert 0 <= samples.source.min() and samples.source.max() < num


@every_member
def test_what_cannot_be_made_says_why(member):
    assert member.missing(fitting(member, 1)) is None
    few = context(raw_originals(max(1, member.min_originals - 1)))
    if member.min_originals > 1:
        assert member.missing(few) == f"needs {member.min_originals} checkpoints"
    without = replace(fitting(member, 1), untrained=None)
    expected = "needs the network" if member.name == "random" else None
    assert member.missing(without) == expected


def test_what_is_chosen_by_validation_score_is_marked_so():
    used = {member.name: member.data_used for member in MEMBERS if member.data_used != NO_DATA}
    assert set(used.values()) == {DataUse("labels", "validation")}
    tuned = {f"{name}@validation" for name in ("swag", "gaussian", "gaussian_full")}
    tuned |= {f"{name}@validation" for name in ("wise_ft", "task_arithmetic")}
    assert used.keys() == {"best_checkpoint", "greedy_soup", "top@5", "top@10", *tuned}
    assert all("validation labels" in one.needs for one in MEMBERS if one.name in used)


CONTROLS = {"random", "permuted"}


def test_methods_finish_with_new_statistics_and_controls_do_not():
    without = {one.name for one in UNMATCHED if not one.method.finish}
    assert without == CONTROLS
    assert all(method.finish for method in MATCHED)
    assert CONTROLS < {one.name for one in METHODS.values() if one.is_control}


@every_method
def test_names_tell_strengths_to_three_digits_and_strengths_are_what_they_tell(method):
    strengths = [0.01, 0.0101, 0.1, 0.123, 0.124, 0.25, 0.5]
    names = [method.at(strength).name for strength in strengths]
    assert names == [f"{method.name}@{strength}" for strength in strengths]
    assert method.at(0.12345).name == method.at(0.123).name == f"{method.name}@0.123"
    assert method.at(1).name == f"{method.name}@1.0"
    assert not set(names) & {one.name for one in UNMATCHED}
    given = runs_of_three()
    one, same = (built(method.at(strength), given).vectors for strength in (0.12345, 0.123))
    assert one.equal(same)


def runs_of_three():
    return context(raw_originals(12), runs=torch.arange(12) // 3)


@every_method
def test_fixed_strengths_lie_in_the_range_of_a_search(method):
    smallest, largest = method.strengths.matched
    assert 0 < smallest < largest
    fixed = [one for one in method.strengths.fixed if one is not None]
    assert all(smallest <= strength <= largest for strength in fixed)


@every_method
def test_members_change_smoothly_with_their_strength(method):
    """For one seed: deviations from strength to strength are in proportion."""
    given = runs_of_three()
    far, near, tiny = (
        built(method.at(strength), given, count=20).vectors for strength in (0.4, 0.2, 0.002)
    )
    linear = torch.ones(SIZE, dtype=torch.bool)
    for slot in given.layout.slots:  # raw noise and averages are not linear in log values
        linear[slot.start : slot.stop] = not slot.is_running_variance
    start = tiny - (near - tiny) * (0.002 / 0.198)
    torch.testing.assert_close(
        (far - start)[:, linear], 2 * (near - start)[:, linear], rtol=1e-3, atol=2e-3
    )
    assert not far.allclose(near)
    assert (built(method.at(0.201), given, count=20).vectors - near).norm() < 0.02 * (
        far - near
    ).norm()


@every_method
@pytest.mark.parametrize("end", [0, 1])
def test_running_variances_stay_positive_at_any_strength(method, end):
    given = runs_of_three()
    made = built(method.at(method.strengths.matched[end]), given, count=200)
    raw = given.normalization.invert(made.vectors) if made.raw is None else made.raw
    for slot in given.layout.slots:
        if slot.is_running_variance:
            assert raw[:, slot.start : slot.stop].min() > 0
    assert torch.isfinite(raw).all()


@every_method
def test_a_method_that_cannot_be_made_says_why(method):
    assert method.missing(runs_of_three()) is None
    alone = context(raw_originals(1))
    expected = {
        **dict.fromkeys(("gaussian", "noise", "noise_absolute")),
        "multiswag": "needs several runs with several checkpoints each",
    }
    assert method.missing(alone) == expected.get(method.name, "needs 2 checkpoints")
    assert (method.missing(context(raw_originals(6))) is None) == (method.name != "multiswag")


def test_what_is_not_known_is_a_reason_in_words():
    """Of the originals' order, their start, and validation data."""
    nothing = replace(context(), validate=None, validation_score=None, steps=None, base=None)
    assert METHODS["greedy_soup"].missing(nothing) == "needs validation data"
    for need, reason in {
        "order": "needs several checkpoints of a run, in a known order",
        "base": "needs the network that training started from",
        "symmetries": "needs the network's permutation symmetries",
    }.items():
        method = replace(METHODS["average"], needs=frozenset({need}))
        assert method.missing(nothing) == reason


@pytest.mark.parametrize(
    ("steps", "runs", "expected"),
    [
        *(
            (None, None, False),
            ([1, 2, 3, 4, 5, 6], None, True),
            ([1, 2, 2, 4, 5, 6], None, False),
        ),
        *(([1, 2, 3, 1, 2, 3], None, False), ([1, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1], True)),
        *(([1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 0, 1], True), ([1, 1, 1, 1, 1, 1], range(6), False)),
    ],
)
def test_an_order_is_increasing_steps_of_every_run(steps, runs, expected):
    given = context(
        steps=None if steps is None else torch.tensor(steps),
        runs=None if runs is None else torch.tensor(list(runs)),
    )
    assert given.is_ordered == expected
