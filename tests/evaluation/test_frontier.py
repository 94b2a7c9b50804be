"""The best free alternative at every similarity, in groups made by hand."""

import pytest

from paramdiff.evaluation.frontier import MEASURES, TOLERANCE, frontier, similarity_of

from .grouped import group

FREE = {
    "original": group(0.90, 0.80, 0.70),
    "average@all": group(0.93, 0.95, None),
    "gaussian@0.5": group(0.92, 0.60, 0.60),
    "gaussian@1.0": group(0.88, 0.40, 0.30),
    "gaussian@1.5": group(0.70, 0.40, 0.50),
}


def found(measure="max_similarity", **groups):
    return frontier({**FREE, **groups}, measure)


def points_of(result):
    return [(point.group, point.similarity, point.accuracy) for point in result.points]


def test_the_points_are_those_that_nothing_less_similar_beats():
    result = found(generated=group(0.9, 0.7))
    assert points_of(result) == [
        ("gaussian@1.0", 0.40, 0.88),
        ("gaussian@0.5", 0.60, 0.92),
        ("average@all", 0.95, 0.93),
    ]
    assert result.at == 0.7
    assert result.reference == "gaussian@0.5"


def test_the_other_similarity_has_its_own_frontier():
    result = found("pairwise_similarity", generated=group(0.9, 0.1, 0.55))
    assert points_of(result) == [
        ("gaussian@1.0", 0.30, 0.88),
        ("gaussian@0.5", 0.60, 0.92),  # a single network, such as the average, has none
    ]
    assert (result.at, result.reference) == (0.55, "gaussian@1.0")


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
def test_the_rival_is_the_most_accurate_of_those_as_dissimilar(similarity, reference):
    assert found(generated=group(0.5, similarity)).reference == reference


def test_a_little_more_similar_is_as_dissimilar():
    for margin, reference in ((0.9, "gaussian@0.5"), (1.1, "gaussian@1.0")):
        generated = group(0.5, 0.60 - margin * TOLERANCE)
        assert found(generated=generated).reference == reference


def test_the_generated_networks_own_accuracy_does_not_matter():
    assert {found(generated=group(accuracy, 0.7)).reference for accuracy in (0.0, 1.0)} == {
        "gaussian@0.5"
    }


def test_of_equally_similar_groups_the_better_is_a_point_and_equally_good_ones_are_one():
    result = found(kde=group(0.88, 0.40), swag=group(0.91, 0.40), generated=group(0.9, 0.4))
    assert points_of(result)[0] == ("swag", 0.40, 0.91)
    assert len(points_of(result)) == 3
    result = found(kde=group(0.88, 0.40), generated=group(0.9, 0.4))
    assert [name for name, similarity, _ in points_of(result) if similarity == 0.40] == [
        "gaussian@1.0"
    ]
    assert result.reference == "gaussian@1.0"  # the first of equals


@pytest.mark.parametrize("name", ["reconstructed", "held_out", "random", "permuted", "rearranged"])
def test_what_is_not_free_is_no_rival(name):
    result = found(generated=group(0.9, 0.7), **{name: group(1.0, 0.1)})
    assert result.reference == "gaussian@0.5"
    assert name not in {point.group for point in result.points}


@pytest.mark.parametrize("used", ["labels", "inputs"])
def test_what_looks_at_data_is_no_rival(used):
    result = found(generated=group(0.9, 0.7), greedy_soup=group(1.0, 0.1, data_used=used))
    assert result.reference == "gaussian@0.5"
    assert "greedy_soup" not in {point.group for point in result.points}


def test_the_generated_networks_are_not_their_own_rival():
    assert frontier({"generated": group(0.9, 0.7)}, "max_similarity").reference is None


@pytest.mark.parametrize("measure", MEASURES)
def test_without_a_similarity_there_is_no_place(measure):
    generated = group(0.9, None, None)
    assert similarity_of(generated, measure) is None
    result = found(measure, generated=generated)
    assert (result.at, result.reference) == (None, None)
    assert result.points
