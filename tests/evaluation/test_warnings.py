"""What a reader is warned of, and that nobody is warned without a cause."""

import pytest

from paramdiff.evaluation.group_schema import SeedGroup
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.evaluation.warnings import Errors, find_warnings

from .grouped import group

ACCURACY = ScoreInfo()


def warned(original=None, generated=None, score=ACCURACY, **fields):
    original = original or group(0.9)
    errors = Errors(1000 * (1 - original.score.median), 1000, 10)
    defaults = {
        "is_unordered": False,
        "hold_out": "run",
        "num_runs": 20,
        "single_trajectory": False,
        "errors": errors,
        "is_deterministic": True,
    }
    others = {name: fields.pop(name) for name in ("random", "permuted") if name in fields}
    groups = {
        "original": original,
        "generated": generated or group(0.9),
        **others,
    }
    return " ".join(find_warnings(groups, score, **{**defaults, **fields}))


def test_a_sound_evaluation_has_no_warning():
    assert warned(random=group(0.1), permuted=group(0.2)) == ""


@pytest.mark.parametrize(
    ("dispersion", "expected"),
    [
        (0.0, "only 0.00 times"),
        (0.79, "only 0.79 times as widely as the originals (collapse)"),
        (0.8, ""),
        (1.25, ""),
        (1.26, "1.26 times as widely"),
        (None, "cannot be measured"),
    ],
)
def test_spread(dispersion, expected):
    found = warned(generated=group(dispersion=dispersion))
    assert (expected in found) if expected else found == ""


@pytest.mark.parametrize(
    ("pooled", "each", "expected"),
    [
        (1.5, (1.04, 1.09), "1.50 times as widely as the originals; those of each generator by "
         "themselves 1.04 to 1.09 times."),
        (1.0, (0.31, 0.9), "The networks of one generator spread only 0.31 times as widely"),
        (0.7, (0.7, 0.7), "The generated networks spread only 0.70 times as widely"),
        (1.0, (0.9, None), ""),
    ],
)  # fmt: skip
def test_spread_of_each_generator(pooled, each, expected):
    seeds = {
        str(number): SeedGroup(n=5, score=0.9, dispersion=one, pairwise_similarity=0.5)
        for number, one in enumerate(each)
    }
    found = warned(generated=group(dispersion=pooled, seeds=seeds))
    assert expected in found
    assert ("times as widely" in found) == bool(expected)


def test_equal_originals():
    found = warned(original=group(dispersion=None), generated=group(dispersion=None))
    assert "All originals are equal" in found
    assert "cannot be measured" not in found
    assert "All originals are equal" not in warned(original=group(n=1, dispersion=None))


@pytest.mark.parametrize(
    ("accuracy", "expected"), [(1.0, "only 0 errors"), (0.96, "only 40 errors"), (0.94, "")]
)
def test_few_errors(accuracy, expected):
    found = warned(original=group(accuracy))
    assert (f"{expected} on 1000 test examples" in found) if expected else found == ""


@pytest.mark.parametrize(("accuracy", "is_chance"), [(0.1, True), (0.118, True), (0.13, False)])
def test_chance_is_told_within_two_standard_errors(accuracy, is_chance):
    """Of 1,000 examples in 10 classes: 10% and 0.95 points."""
    assert ("no better than chance (10% of 10 classes)" in warned(group(accuracy))) == is_chance


@pytest.mark.parametrize("name", ["random", "permuted"])
def test_anchors_that_are_as_good(name):
    assert "hardly matters here" in warned(**{name: group(0.9)})
    assert warned(**{name: group(0.899)}) == ""


@pytest.mark.parametrize(
    ("hold_out", "told"),
    [("tail", "are the tail of that run"), ("spaced", "lie between the others"), ("none", None)],
)
def test_one_training_run(hold_out, told):
    found = warned(single_trajectory=True, hold_out=hold_out)
    assert "one training run" in found and "no data-copying test is made" in found
    assert ("held-out" in found) == (told is not None)
    assert told is None or told in found


def test_networks_that_are_random_at_test_time():
    assert "random at test time" in warned(is_deterministic=False)


@pytest.mark.parametrize(("num", "warns"), [(2, True), (5, True), (6, False)])
def test_few_generator_seeds(num, warns):
    one = SeedGroup(n=20, score=0.9, dispersion=1.0, pairwise_similarity=0.5)
    found = warned(generated=group(seeds={str(seed): one for seed in range(num)}))
    assert (f"Of only {num} generator seeds" in found) == warns


@pytest.mark.parametrize(("num", "warns"), [(1, False), (2, True), (5, True), (6, False)])
def test_few_training_runs(num, warns):
    assert (f"from only {num} training runs" in warned(num_runs=num)) == warns
    assert warned(original=group(n=num), num_runs=num) == ""  # one checkpoint of each


def test_what_selects_and_is_scored_on_the_same_data_is_told_first():
    score = ScoreInfo(selects_on_test=True, is_per_example=False)
    found = warned(score=score)
    assert found.startswith("Selected and scored on the same data:")
    assert "test" not in found
    assert "same data" not in warned()


def test_a_task_with_its_own_score_is_warned_in_its_own_words():
    score = ScoreInfo(name="R2", is_fraction=False, is_per_example=False, has_errors=False)
    found = warned(score=score, errors=None, generated=group(dispersion=0.5), random=group(0.9))
    assert "R2 alone would reward this" in found
    assert "has one R2 as a whole" in found and "not that of test examples" in found
    assert "untrained values of the selected tensors reach 0.90000, the originals 0.90000" in found
    assert "errors" not in found and "chance" not in found
    assert "similarities" not in warned(score=score, errors=None, is_deterministic=False)


def test_few_of_what_may_be_wrong():
    found = warned(errors=Errors(12.0, 4000, None))
    assert "only 12 of 4000 possible errors; similarities rest on few of them" in found
    assert warned(errors=Errors(3900.0, 4000, None)) == ""  # no classes, no chance
