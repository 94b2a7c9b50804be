"""The best baselines along each axis, and the one that decides, in groups made by hand."""

import pytest

from paramdiff.evaluation.frontier import AXES, deciding_axes, frontier
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.metrics.similarity import Summary

from .grouped import group

NOVELTY, DIVERSITY, DISPERSION = AXES.values()


def standing(score=0.9, similarity=0.5, pairwise=0.5, dispersion=1.0):
    return Standing(
        n=20,
        score=score,
        max_similarity=similarity,
        pairwise_similarity=pairwise,
        dispersion=dispersion,
    )


def baseline(accuracy, similarity, pairwise, dispersion=1.0, **fields):
    """A group whose validation networks stand just where those on test data do."""
    on_validation = standing(accuracy, similarity, pairwise, dispersion)
    fields = {"validation": on_validation, "dispersion": dispersion} | fields
    return group(accuracy, similarity, pairwise, **fields)


BASELINES = {
    "original": baseline(0.90, 0.80, 0.70),
    "average@all": baseline(0.93, 0.95, None, None),
    "gaussian@0.5": baseline(0.92, 0.60, 0.60, 0.5),
    "gaussian@1.0": baseline(0.88, 0.40, 0.30, 1.0),
    "gaussian@1.5": baseline(0.70, 0.40, 0.50, 1.5),
}


def found(axis=NOVELTY, better_than=(), **groups):
    return frontier({**BASELINES, **groups}, axis, better_than)


def points_of(result):
    return [(point.group, point.place, point.score) for point in result.points]


def test_the_points_are_those_that_nothing_less_similar_beats():
    result = found(generated=baseline(0.9, 0.7, 0.5))
    assert points_of(result) == [
        ("gaussian@1.0", 0.40, 0.88),
        ("gaussian@0.5", 0.60, 0.92),
        ("average@all", 0.95, 0.93),
    ]
    assert result.at == 0.7
    assert result.reference == "gaussian@0.5"


def test_every_axis_has_its_own_frontier():
    generated = baseline(0.9, 0.1, 0.55, 0.9)
    result = found(DIVERSITY, generated=generated)
    assert points_of(result) == [
        ("gaussian@1.0", 0.30, 0.88),
        ("gaussian@0.5", 0.60, 0.92),  # a single network, such as the average, has no place
    ]
    assert (result.at, result.reference) == (0.55, "gaussian@1.0")
    result = found(DISPERSION, generated=generated)
    assert points_of(result) == [
        ("gaussian@1.5", 1.5, 0.70),  # more dispersed is less alike
        ("original", 1.0, 0.90),
        ("gaussian@0.5", 0.5, 0.92),
    ]
    assert (result.at, result.reference) == (0.9, "original")


def test_an_original_is_no_novel_network():
    """It is its own nearest original, however far away the others are."""
    generated = baseline(0.9, 0.85, 0.75)
    names = {point.group for point in found(generated=generated).points}
    assert "original" not in names
    strong = BASELINES | {"original": baseline(0.99, 0.80, 0.70), "generated": generated}
    assert frontier(strong, NOVELTY).reference == "gaussian@0.5"
    assert frontier(strong, DIVERSITY).reference == "original"


def test_a_noised_checkpoints_own_source_counts():
    source = Summary(mean=0.9, std=0.0, min=0.9, max=0.9)
    noised = baseline(0.95, 0.3, 0.3, max_similarity_with_source=source)
    result = found(**{"noise@0.1": noised, "generated": baseline(0.9, 0.5, 0.5)})
    assert ("noise@0.1", 0.9, 0.95) in points_of(result)


@pytest.mark.parametrize(
    ("similarity", "reference"),
    [
        (1.0, "average@all"),
        (0.95, "average@all"),
        (0.94, "gaussian@0.5"),
        (0.60, "gaussian@0.5"),
        (0.59, "gaussian@1.0"),
        (0.40, "gaussian@1.0"),
        (0.39, None),
        (0.0, None),
    ],
)
def test_the_best_of_those_that_are_as_dissimilar_decides(similarity, reference):
    assert found(generated=baseline(0.5, similarity, 0.5)).reference == reference


def placed(axis, on_validation, on_test):
    fields = {
        "max_similarity": "similarity",
        "pairwise_similarity": "pairwise",
        "dispersion": "dispersion",
    }
    one = {fields[axis.name]: on_validation}
    other = {"accuracy": 0.9, "similarity": 0.5, "pairwise": 0.5, "dispersion": 1.0}
    other[fields[axis.name]] = on_test
    return baseline(**other, validation=standing(**one))


@pytest.mark.parametrize("axis", AXES.values(), ids=lambda axis: axis.noun)
def test_a_little_more_alike_competes(axis):
    """Little on validation data, where strengths are matched; test data may differ more."""
    target, generated = 0.7, placed(axis, 0.7, 0.6)
    more = 1 if axis.less_is_new else -1
    for share, competes in ((0.9, True), (1.1, False)):
        closer = target + more * share * axis.tolerance
        assert axis.admits(placed(axis, closer, 0.6), generated) == competes
        on_test = 0.6 + more * share * axis.slack
        assert axis.admits(placed(axis, target, on_test), generated) == competes
    assert not axis.admits(placed(axis, None, 0.6), generated)
    assert not axis.admits(placed(axis, target, 0.6), placed(axis, target, None))


def test_validation_data_choose_and_test_data_do_not():
    """On test data another baseline is the best, and stands elsewhere."""
    groups = {
        "kde": baseline(0.99, 0.40, 0.5, validation=standing(0.80, 0.40)),
        "swag@1.0": baseline(0.50, 0.42, 0.5, validation=standing(0.89, 0.40)),
        "generated": baseline(0.9, 0.39, 0.5, validation=standing(0.9, 0.45)),
    }
    result = found(**groups)
    assert result.reference == "swag@1.0"
    assert result.at == 0.39


def test_those_that_are_not_beaten_are_named():
    result = found(better_than={"gaussian@1.0"}, generated=baseline(0.9, 0.7, 0.5))
    assert set(result.unbeaten) == {"gaussian@0.5", "gaussian@1.5"}
    assert found(better_than=set(BASELINES), generated=baseline(0.9, 0.7, 0.5)).unbeaten == ()


def test_of_equally_similar_groups_the_better_is_a_point_and_equally_good_ones_are_one():
    better = {"swag@1.0": baseline(0.91, 0.40, 0.5), "kde": baseline(0.88, 0.40, 0.5)}
    result = found(**better, generated=baseline(0.9, 0.4, 0.5))
    assert points_of(result)[0] == ("swag@1.0", 0.40, 0.91)
    assert len(points_of(result)) == 3
    result = found(kde=baseline(0.88, 0.40, 0.5), generated=baseline(0.9, 0.4, 0.5))
    assert [name for name, place, _ in points_of(result) if place == 0.40] == ["gaussian@1.0"]
    assert result.reference == "gaussian@1.0"  # the first of equals


@pytest.mark.parametrize("name", ["reconstructed", "held_out", "random", "permuted", "rearranged"])
def test_what_is_no_baseline_does_not_decide(name):
    result = found(generated=baseline(0.9, 0.7, 0.5), **{name: baseline(1.0, 0.1, 0.1)})
    assert result.reference == "gaussian@0.5"
    assert name not in {point.group for point in result.points}


@pytest.mark.parametrize(
    ("fields", "is_baseline"),
    [
        ({"data_used": "labels"}, False),
        ({"data_used": "inputs"}, False),
        ({"data_used": "inputs", "finish": "batchnorm"}, True),
        ({"data_used": "labels", "finish": "batchnorm"}, False),
    ],
)
def test_of_data_a_baseline_may_see_inputs_for_batchnorm_alone(fields, is_baseline):
    strong = baseline(1.0, 0.1, 0.1, **fields)
    result = found(generated=baseline(0.9, 0.7, 0.5), **{"average@16+bn": strong})
    assert (result.reference == "average@16+bn") == is_baseline
    assert ("average@16+bn" in {point.group for point in result.points}) == is_baseline


def test_what_was_not_measured_on_validation_data_does_not_decide():
    result = found(kde=group(1.0, 0.1, 0.1), generated=baseline(0.9, 0.7, 0.5))
    assert result.reference == "gaussian@0.5"
    assert found(generated=group(0.9, 0.7, 0.5)).reference is None


def test_the_generated_networks_are_not_their_own_baseline():
    result = frontier({"generated": baseline(0.9, 0.7, 0.5)}, NOVELTY)
    assert result.reference is None and result.points == ()


@pytest.mark.parametrize("axis", AXES.values(), ids=lambda axis: axis.noun)
def test_without_a_place_nothing_is_compared(axis):
    generated = baseline(0.9, None, None, None)
    assert axis.of_group(generated) is None
    result = found(axis, generated=generated)
    assert (result.at, result.reference) == (None, None)
    assert result.points


def test_without_errors_dispersion_decides():
    assert deciding_axes(has_errors=True) == ("max_similarity", "pairwise_similarity")
    assert deciding_axes(has_errors=False) == ("dispersion",)
