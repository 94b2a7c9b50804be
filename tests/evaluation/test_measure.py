"""From hand-made predictions to hand-computed numbers."""

import pytest
import torch

from paramdiff.evaluation.intervals import Bootstrap
from paramdiff.evaluation.measure import Measurements, Scored

TEST_TRUTH = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
VALIDATION_TRUTH = torch.tensor([0, 1, 2, 0])


def labels(truth, *wrong):
    """One row per tuple of wrong examples."""
    rows = truth.repeat(len(wrong), 1)
    for row, examples in zip(rows, wrong, strict=True):
        row[list(examples)] = (row[list(examples)] + 1) % 3
    return rows


def scored(vectors, validation, test, source=None):
    return Scored(
        torch.tensor(vectors),
        labels(VALIDATION_TRUTH, *validation),
        labels(TEST_TRUTH, *test),
        source if source is None else torch.tensor(source),
    )


GROUPS = {
    # test accuracies 7/8, 6/8, 4/8; validation accuracies 2/4, 4/4, 3/4
    "original": scored(
        [[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]],
        [(0, 1), (), (2,)],
        [(0,), (0, 1), (0, 1, 2, 3)],
    ),
    # test accuracies 8/8, 4/8; validation accuracies 1/4, 3/4
    "generated": scored([[0.0, 1.0], [6.0, 0.0]], [(0, 1, 2), (3,)], [(), (0, 1, 2, 3)], [0, 2]),
    "single": scored([[3.0, 0.0]], [()], [(0, 1)]),
    "bad": scored([[0.0, 0.0], [1.0, 0.0]], [(0,), (0,)], [range(8), range(8)]),
}
MEASURED = Measurements(GROUPS, VALIDATION_TRUTH, TEST_TRUTH, Bootstrap.over(8, seed=0))


def test_accuracy_statistics_by_hand():
    accuracy = MEASURED.group("original").accuracy
    values = [7 / 8, 6 / 8, 4 / 8]
    mean = sum(values) / 3
    assert accuracy.mean == pytest.approx(mean)
    assert accuracy.std == pytest.approx((sum((v - mean) ** 2 for v in values) / 3) ** 0.5)
    assert (accuracy.min, accuracy.median, accuracy.max) == pytest.approx((0.5, 0.75, 0.875))
    assert accuracy.ci95[0] < mean < accuracy.ci95[1]


def test_similarities_by_hand():
    original = MEASURED.group("original")
    # to another original: 1/2 (second), 2/4 or 1/2 (first), 2/4 (second)
    assert original.max_similarity.mean == pytest.approx(0.5)
    assert original.pairwise_similarity == pytest.approx((1 / 2 + 1 / 4 + 2 / 4) / 3)
    generated = MEASURED.group("generated")
    # their sources left out: 0 to any, 1/2 to the second; with them 0 and 1
    assert generated.max_similarity.mean == pytest.approx((0 + 0.5) / 2)
    assert generated.max_similarity.std == pytest.approx(0.25)
    assert generated.max_similarity_with_source.mean == pytest.approx((0 + 1) / 2)
    assert (generated.max_similarity.min, generated.max_similarity.max) == (0, 0.5)
    assert generated.pairwise_similarity == 0
    single = MEASURED.group("single")
    assert single.max_similarity.mean == 1
    assert single.max_similarity_with_source is None
    assert single.pairwise_similarity is None


def test_distances_by_hand():
    original = MEASURED.group("original").min_distance  # each to another one: 5, 5, 5
    assert (original.min, original.mean, original.max) == pytest.approx((5, 5, 5))
    generated = MEASURED.group("generated").min_distance
    first = (3**2 + 3**2) ** 0.5  # to (3, 4); the source (0, 0) is left out
    assert (generated.min, generated.max) == pytest.approx((first, 5))
    assert generated.mean == pytest.approx((first + 5) / 2)
    assert MEASURED.group("single").min_distance.mean == pytest.approx(3)


def test_dispersion_by_hand():
    assert MEASURED.group("original").dispersion == 1
    # variances 9 + 16/3 of the originals, 18 + 1/2 of the generated
    assert MEASURED.group("generated").dispersion == pytest.approx((18.5 / (9 + 16 / 3)) ** 0.5)
    assert MEASURED.group("single").dispersion is None
    assert MEASURED.compare("generated", "original").reference_dispersion == 1
    assert MEASURED.compare("generated", "single").reference_dispersion is None


def test_sizes():
    assert [MEASURED.group(name).n for name in GROUPS] == [3, 2, 1, 2]
    assert MEASURED.group("generated").data_used == "none"


def test_a_difference_has_a_sign():
    better = MEASURED.compare("original", "bad")
    assert better.difference == pytest.approx(17 / 24)
    assert 0 < better.ci95[0] < better.difference < better.ci95[1]
    worse = MEASURED.compare("bad", "original")
    assert worse.difference == pytest.approx(-17 / 24)
    assert worse.ci95 == pytest.approx((-better.ci95[1], -better.ci95[0]))
    assert (worse.group, worse.reference) == ("bad", "original")


def test_the_difference_of_the_same_predictions_is_certain():
    same = GROUPS | {"copy": GROUPS["single"]}
    measured = Measurements(same, VALIDATION_TRUTH, TEST_TRUTH, Bootstrap.over(8, seed=0))
    comparison = measured.compare("copy", "single")
    assert comparison.difference == 0
    assert comparison.ci95 == pytest.approx((0, 0), abs=1e-7)


def test_the_best_is_chosen_on_validation_and_told_on_test():
    best = MEASURED.best_of("original", 3)
    assert (best.n, best.validation_accuracy, best.test_accuracy) == (3, 1.0, 0.75)
    best = MEASURED.best_of("generated", 2)
    assert (best.n, best.validation_accuracy, best.test_accuracy) == (2, 0.75, 0.5)


def test_only_the_first_n_compete():
    best = MEASURED.best_of("original", 1)
    assert (best.n, best.validation_accuracy) == (1, 0.5)
    assert best.test_accuracy == pytest.approx(0.875)
    assert MEASURED.best_of("single", 3).n == 1


def test_test_labels_select_nothing():
    """Whatever the test split's truth is, the same network is chosen."""
    for wrong in ((0, 1, 2), (4, 5, 6, 7), range(8)):
        truth = labels(TEST_TRUTH, wrong)[0]
        measured = Measurements(GROUPS, VALIDATION_TRUTH, truth, Bootstrap.over(8, seed=0))
        best = measured.best_of("original", 3)
        chosen = (GROUPS["original"].test_labels[1] == truth).float().mean()
        assert best.validation_accuracy == 1
        assert best.test_accuracy == pytest.approx(float(chosen))


def test_one_original_has_nothing_to_compare_with():
    groups = {
        "original": scored([[0.0]], [()], [(0,)]),
        "noised": scored([[1.0], [2.0]], [(), ()], [(0,), (1,)], [0, 0]),
    }
    measured = Measurements(groups, VALIDATION_TRUTH, TEST_TRUTH, Bootstrap.over(8, seed=0))
    for name in groups:
        group = measured.group(name)
        assert group.max_similarity is None
        assert group.min_distance is None
        assert group.dispersion is None
    assert measured.group("noised").max_similarity_with_source.mean == pytest.approx(0.5)


def test_identical_errors_of_copies():
    """Predicted labels do not count, only whether they are wrong."""
    truth = torch.zeros(4, dtype=torch.long)
    one = torch.tensor([[1, 1, 0, 0]])
    groups = {
        "original": Scored(torch.zeros(1, 2), one, one),
        "generated": Scored(torch.ones(1, 2), one, 2 * one),
    }
    measured = Measurements(groups, truth, truth, Bootstrap.over(4, seed=0))
    assert measured.group("generated").max_similarity.mean == 1
