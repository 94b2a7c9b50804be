"""From hand-made predictions to hand-computed numbers."""

from dataclasses import replace

import pytest
import torch

from paramdiff.evaluation.best_of_n import best_of_n
from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.comparison import compare
from paramdiff.evaluation.group_record import group_record, seed_records
from paramdiff.evaluation.metrics.base import GroupMeasurements, GroupMetrics
from paramdiff.evaluation.metrics.score import group_score
from paramdiff.evaluation.predictor import Predictions
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.parameters.layout import ParameterLayout

NUM_TEST, NUM_VALIDATION = 8, 4


def right(num, *wrong):
    """One row of what is right per tuple of wrong examples."""
    rows = torch.ones(len(wrong), num, dtype=torch.bool)
    for row, examples in zip(rows, wrong, strict=True):
        row[list(examples)] = False
    return rows


def predictions(validation, test):
    return Predictions(validation, test, ~test)


LAYOUT = ParameterLayout.of({"a": torch.zeros(2)}, ["a"])
ORIGINALS = [[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]]


def scored(vectors, validation, test, source=None, originals=ORIGINALS, **fields):
    source = source if source is None else torch.tensor(source)
    references = ReferenceSet(torch.tensor(originals), LAYOUT)
    return GroupMeasurements(
        references.measure(torch.tensor(vectors), source),
        predictions(right(NUM_VALIDATION, *validation), right(NUM_TEST, *test)),
        source,
        **fields,
    )


GROUPS = {
    # test accuracies 7/8, 6/8, 4/8; validation accuracies 2/4, 4/4, 3/4
    "original": scored(ORIGINALS, [(0, 1), (), (2,)], [(0,), (0, 1), (0, 1, 2, 3)], [0, 1, 2]),
    # test accuracies 8/8, 4/8; validation accuracies 1/4, 3/4
    "generated": scored([[0.0, 1.0], [6.0, 0.0]], [(0, 1, 2), (3,)], [(), (0, 1, 2, 3)], [0, 2]),
    "single": scored([[3.0, 0.0]], [()], [(0, 1)]),
    "bad": scored([[0.0, 0.0], [1.0, 0.0]], [(0,), (0,)], [range(8), range(8)]),
}


def measurements(groups, num_test=NUM_TEST):
    return GroupMetrics(groups, Bootstrap.over(num_test, seed=0))


def group_of(name, measured=None, independent_hold_out=False):
    measured = replace(measured or MEASURED, is_held_out_independent=independent_hold_out)
    return group_record(measured, name)


MEASURED = measurements(GROUPS)


def test_accuracy_statistics_by_hand():
    accuracy = group_of("original").score
    values = [7 / 8, 6 / 8, 4 / 8]
    mean = sum(values) / 3
    assert accuracy.mean == pytest.approx(mean)
    assert accuracy.std == pytest.approx((sum((v - mean) ** 2 for v in values) / 3) ** 0.5)
    assert (accuracy.min, accuracy.median, accuracy.max) == pytest.approx((0.5, 0.75, 0.875))
    assert accuracy.ci95[0] < mean < accuracy.ci95[1]


def test_similarities_by_hand():
    original = group_of("original")
    # to another original: 1/2 (second), 2/4 or 1/2 (first), 2/4 (second)
    assert original.max_similarity.mean == pytest.approx(0.5)
    assert original.pairwise_similarity == pytest.approx((1 / 2 + 1 / 4 + 2 / 4) / 3)
    generated = group_of("generated")
    # their sources left out: 0 to any, 1/2 to the second; with them 0 and 1
    assert generated.max_similarity.mean == pytest.approx((0 + 0.5) / 2)
    assert generated.max_similarity.std == pytest.approx(0.25)
    assert generated.max_similarity_with_source.mean == pytest.approx((0 + 1) / 2)
    assert (generated.max_similarity.min, generated.max_similarity.max) == (0, 0.5)
    assert generated.pairwise_similarity == 0
    single = group_of("single")
    assert single.max_similarity.mean == 1
    assert single.max_similarity_with_source is None
    assert single.pairwise_similarity is None


def test_distances_by_hand():
    original = group_of("original").min_distance  # each to another one: 5, 5, 5
    assert (original.min, original.mean, original.max) == pytest.approx((5, 5, 5))
    generated = group_of("generated").min_distance
    first = (3**2 + 3**2) ** 0.5  # to (3, 4); the source (0, 0) is left out
    assert (generated.min, generated.max) == pytest.approx((first, 5))
    assert generated.mean == pytest.approx((first + 5) / 2)
    assert group_of("single").min_distance.mean == pytest.approx(3)


def test_dispersion_by_hand():
    assert group_of("original").dispersion == 1
    # variances 9 + 16/3 of the originals, 18 + 1/2 of the generated
    assert group_of("generated").dispersion == pytest.approx((18.5 / (9 + 16 / 3)) ** 0.5)
    assert group_of("single").dispersion is None
    assert compare(MEASURED, "generated", "original").reference_dispersion == 1
    assert compare(MEASURED, "generated", "single").reference_dispersion is None


def test_sizes():
    assert [group_of(name).n for name in GROUPS] == [3, 2, 1, 2]
    assert group_of("generated").data_used == "none"


def test_a_difference_has_a_sign():
    better = compare(MEASURED, "original", "bad")
    assert better.difference == pytest.approx(17 / 24)
    assert 0 < better.ci95[0] < better.difference < better.ci95[1]
    worse = compare(MEASURED, "bad", "original")
    assert worse.difference == pytest.approx(-17 / 24)
    assert worse.ci95 == pytest.approx((-better.ci95[1], -better.ci95[0]))
    assert (worse.group, worse.reference) == ("bad", "original")


def test_the_difference_of_the_same_predictions_is_certain():
    same = GROUPS | {"copy": GROUPS["single"]}
    measured = measurements(same)
    comparison = compare(measured, "copy", "single")
    assert comparison.difference == 0
    assert comparison.ci95 == (0, 0)


def test_the_best_is_chosen_on_validation_and_told_on_test():
    best = best_of_n(MEASURED, "original", 3)
    assert (best.n, best.validation_score, best.test_score) == (3, 1.0, 0.75)
    best = best_of_n(MEASURED, "generated", 2)
    assert (best.n, best.validation_score, best.test_score) == (2, 0.75, 0.5)


def test_n_evenly_spaced_networks_compete():
    """Validation accuracies 2/4, 4/4, 3/4: the middle one would win, were it among the two."""
    best = best_of_n(MEASURED, "original", 2)
    assert (best.n, best.validation_score, best.test_score) == (2, 0.75, 0.5)


@pytest.mark.parametrize("num", [2, 3, 7, 50, 51, 200, 300])
def test_every_candidate_is_another_network(num):
    """The one at the place asked for wins: each place is met by exactly one of n = num."""
    wrong = torch.eye(num, num + 1, dtype=torch.bool)
    for place in {0, num // 3, num - 1}:
        is_best = torch.zeros(num, 1, dtype=torch.bool)
        is_best[place] = True
        wrong_on_place = wrong.clone()
        wrong_on_place[place] = True
        group = GroupMeasurements(
            GROUPS["single"].parameters, predictions(is_best, ~wrong_on_place)
        )
        best = best_of_n(measurements({"g": group}, num + 1), "g", num)
        assert (best.validation_score, best.test_score) == (1, 0)


def test_the_test_split_selects_nothing():
    """Whatever is right there, the same network is chosen."""
    group = GROUPS["original"]
    for turned in ((0, 1, 2), (4, 5, 6, 7), range(8)):
        test = group.predictions.test ^ ~right(NUM_TEST, turned)
        other = GroupMeasurements(
            group.parameters, predictions(group.predictions.validation, test)
        )
        best = best_of_n(measurements({"original": other}), "original", 3)
        assert best.validation_score == 1
        assert best.test_score == pytest.approx(float(test[1].float().mean()))


def test_one_original_has_nothing_to_compare_with():
    alone = [[0.0, 0.0]]
    groups = {
        "original": scored(alone, [()], [(0,)], [0], alone),
        "noised": scored([[1.0, 0.0], [2.0, 0.0]], [(), ()], [(0,), (1,)], [0, 0], alone),
    }
    measured = measurements(groups)
    for name in groups:
        group = group_of(name, measured)
        assert group.max_similarity is None
        assert group.min_distance is None
        assert group.nearest_ratio is None
        assert group.dispersion is None
        assert group.dispersion_per_tensor is None
        assert group.dispersion_in_components is None
        assert group.effective_rank_ratio is None
        assert group.copies is None
    noised = group_of("noised", measured)
    assert noised.max_similarity_with_source.mean == pytest.approx(0.5)


def test_nearest_ratios_and_copies_by_hand():
    # (0, 1) is 1 and sqrt(18) from its nearest; without its source it has sqrt(18) and sqrt(37)
    generated = group_of("generated")
    assert generated.nearest_ratio == pytest.approx(((18 / 37) ** 0.5 + 5 / 6) / 2)
    # half the originals' own distance is 2.5: 1 and 0 are nearer, their source counted
    assert generated.copies == 1
    assert group_of("single").copies == 0  # 3 away
    assert group_of("bad").copies == 1
    assert group_of("original").copies is None


def test_dispersion_by_tensor_and_component_and_rank():
    original = group_of("original")
    assert original.dispersion_per_tensor == {"a": pytest.approx(1)}
    assert original.dispersion_in_components == pytest.approx((1, 1))
    assert original.effective_rank_ratio == pytest.approx(1)
    single = group_of("single")
    assert single.dispersion_per_tensor is None
    assert single.dispersion_in_components is None
    assert single.effective_rank_ratio is None


def seeded(seeds):
    fields = {"seeds": torch.tensor(seeds)}
    wrong = [(), (0, 1, 2, 3), (0, 1), (0, 1)]
    vectors = [[0.0, 1.0], [6.0, 0.0], [1.0, 1.0], [1.0, 3.0]]
    group = scored(vectors, [()] * 4, wrong, **fields)
    return measurements(GROUPS | {"generated": group}), torch.tensor(vectors)


def test_each_generator_seed_has_its_numbers():
    measured, vectors = seeded([3, 3, 8, 8])
    found = seed_records(measured, "generated", vectors, torch.tensor(ORIGINALS))
    assert list(found) == ["3", "8"]
    assert [one.n for one in found.values()] == [2, 2]
    assert [one.score for one in found.values()] == pytest.approx([0.75, 0.75])
    expected = [(18.5 / (9 + 16 / 3)) ** 0.5, (2 / (9 + 16 / 3)) ** 0.5]
    assert [one.dispersion for one in found.values()] == pytest.approx(expected)
    assert [one.pairwise_similarity for one in found.values()] == [0, 1]


@pytest.mark.parametrize("seeds", [None, [4, 4, 4, 4]])
def test_one_generator_seed_is_not_told_apart(seeds):
    if seeds is None:
        assert (
            seed_records(MEASURED, "generated", torch.zeros(2, 2), torch.tensor(ORIGINALS)) is None
        )
    else:
        measured, vectors = seeded(seeds)
        assert seed_records(measured, "generated", vectors, torch.tensor(ORIGINALS)) is None


def test_intervals_are_wider_by_what_differs_between_seeds():
    """Ten networks, of which one seed's are right and the other's are wrong."""
    test = [()] * 5 + [range(8)] * 5
    vectors = [[float(number), 0.0] for number in range(10)]
    widths = []
    for seeds in (None, torch.arange(10) // 5):
        group = scored(vectors, [()] * 10, test, seeds=seeds)
        low, high = group_of("g", measurements(GROUPS | {"g": group})).score.ci95
        widths.append(high - low)
    assert widths[0] < 0.75 and widths[1] == 1


def cloud(num, seed, scale=1.0):
    return scale * torch.randn(num, 2, generator=torch.Generator().manual_seed(seed))


def compared(generated, held_out, num_held_out=60, known=None, **kwargs):
    """Three groups in the plane whose test errors say nothing (all alike)."""
    originals = cloud(60, 1)
    references = ReferenceSet(originals, LAYOUT)

    def group(vectors, source=None):
        alike = right(NUM_TEST, *[()] * len(vectors))
        return GroupMeasurements(
            references.measure(vectors, source), predictions(alike, alike), source
        )

    groups = {
        "original": group(originals, torch.arange(60)),
        "generated": group(generated),
        "held_out": group(held_out[:num_held_out]),
    }
    runs = {"runs": torch.arange(60), "held_out_runs": 100 + torch.arange(num_held_out)} | (
        known or {}
    )
    measured = replace(measurements(groups), **runs)
    return {name: group_of(name, measured, **kwargs) for name in groups}


def test_data_copying_is_tested_against_independent_held_out_networks_only():
    found = compared(cloud(70, 2), cloud(60, 3), independent_hold_out=True)
    assert found["original"].z_u is None and found["held_out"].z_u is None
    tested = found["generated"].z_u
    assert (tested.n, tested.n_held_out) == (50, 50)
    assert abs(tested.parameters) < 3.5
    assert tested.behavior == 0  # all errors are alike: nothing but ties
    assert compared(cloud(70, 2), cloud(60, 3))["generated"].z_u is None


def test_copies_are_told_by_the_data_copying_test():
    copies = cloud(60, 1).repeat(2, 1)
    found = compared(copies, cloud(60, 3), independent_hold_out=True)["generated"]
    assert found.z_u.parameters < -6
    assert found.copies == 1


@pytest.mark.parametrize(("num_generated", "num_held_out"), [(9, 60), (60, 9), (1, 60)])
def test_too_few_networks_are_not_tested(num_generated, num_held_out):
    found = compared(
        cloud(num_generated, 2), cloud(60, 3), num_held_out, independent_hold_out=True
    )
    assert found["generated"].z_u is None


@pytest.mark.parametrize(
    ("num_runs", "of_originals", "expected"),
    [
        (60, 0, (60, 50)),
        (12, 0, (60, 12)),  # five checkpoints each
        (10, 0, (60, 10)),
        (9, 0, None),
        (1, 0, None),
        (12, 2, (60, 10)),  # two of them are originals' runs
        (12, 3, None),
    ],
)
def test_held_out_runs_count_and_not_their_checkpoints(num_runs, of_originals, expected):
    runs = 100 + torch.arange(60) % num_runs
    known = {"held_out_runs": runs, "runs": 100 + torch.arange(60) % max(of_originals, 1)}
    if not of_originals:
        known["runs"] = torch.arange(60)
    found = compared(cloud(60, 2), cloud(60, 3), known=known, independent_hold_out=True)
    tested = found["generated"].z_u
    assert (tested and (10 + tested.n, tested.n_held_out)) == expected


def test_held_out_networks_of_unknown_runs_count_as_one():
    found = compared(
        cloud(60, 2), cloud(60, 3), known={"held_out_runs": None}, independent_hold_out=True
    )
    assert found["generated"].z_u is None


def test_networks_made_from_originals_of_few_runs_are_not_tested():
    """Noise about 60 checkpoints of 4 runs is no sample of 60 independent networks."""
    originals = cloud(60, 1)
    references = ReferenceSet(originals, LAYOUT)
    alike = right(NUM_TEST, *[()] * 60)
    source = torch.arange(60)
    groups = {
        "original": GroupMeasurements(
            references.measure(originals, source), predictions(alike, alike), source
        ),
        "noise": GroupMeasurements(
            references.measure(originals, source), predictions(alike, alike), source
        ),
        "held_out": GroupMeasurements(
            references.measure(cloud(60, 3), None), predictions(alike, alike)
        ),
    }
    for num_runs, is_tested in ((4, False), (30, True)):
        measured = replace(
            measurements(groups), runs=source % num_runs, held_out_runs=100 + source
        )
        found = group_of("noise", measured, independent_hold_out=True).z_u
        assert (found is not None) == is_tested
        if is_tested:
            assert found.n == num_runs and found.parameters < -4


def test_checkpoints_of_few_runs_widen_every_interval_that_rests_on_them():
    """Half of the runs are right everywhere, the others nowhere."""
    right_or_wrong = (torch.arange(40) % 4 < 2)[:, None].expand(-1, NUM_TEST)
    parameters, source = GROUPS["single"].parameters, torch.arange(40)
    made = GroupMeasurements(parameters, predictions(right_or_wrong, right_or_wrong), source)
    groups = {"original": made, "noise": made, "reconstructed": replace(made, source=None)}
    plain = measurements(groups)
    by_run = replace(measurements(groups), runs=source % 4)
    for name in groups:
        intervals = [group_score(one, name).ci95 for one in (plain, by_run)]
        widths = [high - low for low, high in intervals]
        assert widths[0] < 0.35 and widths[1] > 0.9, name


def test_of_equally_good_networks_the_seed_draws_one():
    """All tie on validation data; the first one is the only bad one on test data."""
    validation = torch.ones(9, NUM_VALIDATION, dtype=torch.bool)
    test = torch.arange(9)[:, None].expand(-1, NUM_TEST) > 0
    groups = {"g": GroupMeasurements(GROUPS["single"].parameters, predictions(validation, test))}
    chosen = [
        best_of_n(GroupMetrics(groups, Bootstrap.over(NUM_TEST, seed=seed)), "g", 9)
        for seed in range(40)
    ]
    assert {best.num_tied for best in chosen} == {9}
    share = sum(best.test_score == 0 for best in chosen) / 40
    assert 0 < share < 0.35
    assert all(best.ci95 == (0, 1) for best in chosen)  # one in nine draws is the bad one
    again = best_of_n(GroupMetrics(groups, Bootstrap.over(NUM_TEST, seed=0)), "g", 9)
    assert again == chosen[0]


def test_a_group_without_spread_cannot_be_rescaled():
    same = cloud(1, 2).repeat(20, 1)
    found = compared(same, cloud(60, 3), independent_hold_out=True)["generated"]
    assert found.dispersion == 0
    assert found.z_u.parameters is None


def test_where_no_test_of_copying_follows_no_group_is_stretched():
    vectors, originals = cloud(20, 2), cloud(30, 1)
    plain, tested = (
        ReferenceSet(originals, LAYOUT, tests_copying=tests).measure(vectors, None)
        for tests in (False, True)
    )
    assert plain.near_rescaled is None and tested.near_rescaled is not None
    assert plain.dispersion == tested.dispersion


def test_scores_that_are_numbers_by_hand():
    """Two networks, three examples; nothing is wrong."""
    test = torch.tensor([[-1.0, -2.0, -6.0], [-1.0, 0.0, -2.0]])
    own = Predictions(torch.tensor([[-5.0], [-1.0]]), test, None)
    originals = Predictions(
        torch.zeros(3, 1), torch.tensor([[-1.0, -1.0, -1.0]]).repeat(3, 1), None
    )
    measured = measurements(
        {
            "original": GroupMeasurements(
                GROUPS["original"].parameters, originals, torch.arange(3)
            ),
            "generated": GroupMeasurements(
                GROUPS["generated"].parameters, own, torch.tensor([0, 2])
            ),
        },
        num_test=3,
    )
    group = group_of("generated", measured)
    assert (group.score.mean, group.score.min, group.score.max) == (-2, -3, -1)
    assert group.max_similarity is group.max_similarity_with_source is None
    assert group.pairwise_similarity is None and group.min_distance is not None
    assert compare(measured, "generated", "original").difference == -1
    best = best_of_n(measured, "generated", 2)
    assert (best.validation_score, best.test_score) == (-1, -1)
