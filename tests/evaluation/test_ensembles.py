"""Ensembles against averaging by hand: disjoint, of equal size, and compared on the same data."""

import pytest
import torch

from paramdiff.evaluation.calibration import (
    brier_score,
    calibration_error,
    negative_log_likelihood,
    ood_auroc,
)
from paramdiff.evaluation.ensembles import (
    SIZES,
    chosen_members,
    compare_ensembles,
    score_ensembles,
)
from paramdiff.evaluation.intervals import Bootstrap

NUM_TEST, NUM_FOREIGN, NUM_CLASSES = 60, 25, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


TRUTH = torch.randint(NUM_CLASSES, (NUM_TEST,), generator=generator(5))


def networks(num, seed=0, num_foreign=NUM_FOREIGN, skill=1.0):
    logits = torch.randn(num, NUM_TEST + num_foreign, NUM_CLASSES, generator=generator(seed))
    logits[:, torch.arange(NUM_TEST), TRUTH] += skill
    return logits.softmax(2)


@pytest.mark.parametrize("members", SIZES)
def test_an_ensemble_is_the_mean_of_its_members_probabilities(members):
    """Groups of consecutive networks, averaged by hand, scored by themselves, then averaged."""
    given = networks(30)
    found = {score.members: score for score in score_ensembles(given, TRUTH).scores}[members]
    means = given.view(30 // members, members, -1, NUM_CLASSES).mean(1)
    assert found.num_ensembles == len(means) == 30 // members

    def average(score):
        return sum(float(score(mean)) for mean in means) / len(means)

    def accuracy(mean):
        return (mean[:NUM_TEST].argmax(1) == TRUTH).double().mean()

    assert found.accuracy == pytest.approx(average(accuracy), abs=1e-6)
    likelihood = average(lambda mean: negative_log_likelihood(mean[:NUM_TEST], TRUTH).mean())
    assert found.nll == pytest.approx(likelihood, abs=1e-6)
    error = average(lambda mean: calibration_error(mean[:NUM_TEST], TRUTH))
    assert found.ece == pytest.approx(error, abs=1e-6)
    assert found.brier == pytest.approx(
        average(lambda mean: brier_score(mean[:NUM_TEST], TRUTH)), abs=1e-6
    )
    assert found.ood_auroc == pytest.approx(average(lambda mean: ood_auroc(mean, NUM_TEST)))


def test_every_network_takes_part_once():
    """Marked networks: the n-th is sure and right on example n alone, so shares can be counted."""
    given = torch.full((30, 30, 2), 0.5)
    given[torch.arange(30), torch.arange(30)] = torch.tensor([1.0, 0.0])
    found = score_ensembles(given, torch.zeros(30, dtype=torch.long))
    for members in SIZES:
        # in every ensemble the marks of its own members: 0.5 + 0.5 / members
        share = torch.tensor(0.5 + 0.5 / members)
        count = 30 // members
        mean = (-share.log() - (count - 1) * torch.tensor(0.5).log()) / count
        torch.testing.assert_close(found.nll[members], mean.expand(30), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("num", "expected"),
    [
        (1, {1: 1}),
        (4, {1: 4, 2: 2}),
        (7, {1: 7, 2: 3, 5: 1}),
        (29, {1: 29, 2: 14, 5: 5, 10: 2}),
        (30, {1: 30, 2: 15, 5: 6, 10: 3, 30: 1}),
    ],
)
def test_sizes_that_cannot_be_filled_are_left_out(num, expected):
    found = score_ensembles(networks(num), TRUTH)
    assert {score.members: score.num_ensembles for score in found.scores} == expected
    assert set(found.correct) == set(found.nll) == set(expected)


def test_equal_networks_are_no_better_together():
    given = networks(1).expand(30, -1, -1)
    scores = score_ensembles(given, TRUTH).scores
    for score in scores[1:]:
        assert score.accuracy == scores[0].accuracy
        assert score.nll == pytest.approx(scores[0].nll, rel=1e-5)


def test_independent_networks_are_better_together():
    scores = score_ensembles(networks(30), TRUTH).scores
    assert scores[-1].accuracy > scores[0].accuracy + 0.15
    assert scores[-1].nll < scores[0].nll


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_another_precision_are_scored_alike(dtype):
    found = score_ensembles(networks(2).to(dtype), TRUTH)
    expected = score_ensembles(networks(2).to(dtype).float(), TRUTH)
    assert found.scores == expected.scores


def test_without_foreign_inputs_there_is_no_auroc():
    found = score_ensembles(networks(5, num_foreign=0), TRUTH)
    assert {score.ood_auroc for score in found.scores} == {None}


def test_networks_are_asked_one_by_one_and_none_is_changed():
    given = networks(5)
    before = given.clone()
    score_ensembles(iter(given), TRUTH)
    assert given.equal(before)


def test_the_largest_ensemble_is_drawn():
    found = score_ensembles(networks(7), TRUTH)
    five = networks(7)[:5].mean(0)[:NUM_TEST]
    confidence = five.max(1).values
    assert found.reliability[0].min() >= confidence.min() - 1e-6
    assert found.reliability[0].max() <= confidence.max() + 1e-6


@pytest.mark.parametrize("num", [1, 12, 30, 300])
def test_up_to_30_take_part_in_random_order(num):
    rows = chosen_members(num, generator())
    assert len(rows) == min(num, 30) == len(rows.unique())
    assert 0 <= rows.min() and rows.max() < num
    if num == 300:
        assert rows.max() > 150  # not the first ones
    assert rows.equal(chosen_members(num, generator()))


def test_comparisons_are_differences_on_the_same_examples():
    groups = {
        "original": score_ensembles(networks(30, 1), TRUTH),
        "generated": score_ensembles(networks(30, 2, skill=3.0), TRUTH),
        "average@all": score_ensembles(networks(1, 3), TRUTH),
    }
    found = compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0))
    assert [(one.reference, one.members) for one in found] == [
        *(("original", members) for members in SIZES),
        ("average@all", 1),
    ]
    for one in found:
        own, other = (
            next(score for score in groups[name].scores if score.members == one.members)
            for name in ("generated", one.reference)
        )
        assert one.accuracy == pytest.approx(own.accuracy - other.accuracy, abs=1e-6)
        assert one.nll == pytest.approx(own.nll - other.nll, abs=1e-5)
        assert one.accuracy_ci95[0] <= one.accuracy <= one.accuracy_ci95[1]
        assert one.nll_ci95[0] <= one.nll <= one.nll_ci95[1]
    assert found[0].accuracy_ci95[0] > 0 and found[0].nll_ci95[1] < 0  # planted: more skill


def test_a_group_against_itself_differs_by_nothing():
    same = score_ensembles(networks(10), TRUTH)
    found = compare_ensembles(
        {"generated": same, "original": same}, Bootstrap.over(NUM_TEST, seed=0)
    )
    assert {(one.accuracy, *one.accuracy_ci95, one.nll, *one.nll_ci95) for one in found} == {
        (0, 0, 0, 0, 0, 0)
    }


def test_without_generated_networks_nothing_is_compared():
    groups = {"original": score_ensembles(networks(2), TRUTH)}
    assert compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0)) == ()
