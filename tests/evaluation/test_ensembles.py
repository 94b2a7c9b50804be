"""Ensembles against averaging by hand: disjoint, of equal size, and compared on the same data."""

import pytest
import torch

from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.calibration import (
    best_temperature,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    ood_auroc,
    placements,
    tempered,
)
from paramdiff.evaluation.ensembles import (
    SIZES,
    Validation,
    chosen_members,
    compare_ensembles,
    equivalent_size,
    form_ensembles,
    score_ensembles,
)

NUM_TEST, NUM_FOREIGN, NUM_CLASSES = 60, 25, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


TRUTH = torch.randint(NUM_CLASSES, (NUM_TEST,), generator=generator(5))


def networks(num, seed=0, num_foreign=NUM_FOREIGN, skill=1.0):
    logits = torch.randn(num, NUM_TEST + num_foreign, NUM_CLASSES, generator=generator(seed))
    logits[:, torch.arange(NUM_TEST), TRUTH] += skill
    return logits.softmax(2)


def scores_of(group):
    return score_ensembles(group, Bootstrap.over(NUM_TEST, seed=0, num_draws=400), 0)


@pytest.mark.parametrize("members", SIZES)
def test_an_ensemble_is_the_mean_of_its_members_probabilities(members):
    """Groups of consecutive networks, averaged by hand, scored by themselves, then averaged."""
    given = networks(30)
    found = {score.members: score for score in scores_of(form_ensembles(given, TRUTH))}[members]
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
    found = form_ensembles(given, torch.zeros(30, dtype=torch.long))
    for members in SIZES:
        # in every ensemble the marks of its own members: 0.5 + 0.5 / members
        share = torch.tensor(0.5 + 0.5 / members)
        count = 30 // members
        mean = (-share.log() - (count - 1) * torch.tensor(0.5).log()) / count
        nll = found.parts[members]["nll"].mean(0)
        torch.testing.assert_close(nll, mean.expand(30), rtol=1e-5, atol=1e-6)


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
    found = form_ensembles(networks(num), TRUTH)
    assert {score.members: score.num_ensembles for score in scores_of(found)} == expected
    assert set(found.parts) == set(found.summary) == set(expected)


def test_equal_networks_are_no_better_together():
    given = networks(1).expand(30, -1, -1)
    scores = scores_of(form_ensembles(given, TRUTH))
    for score in scores[1:]:
        assert score.accuracy == scores[0].accuracy
        assert score.nll == pytest.approx(scores[0].nll, rel=1e-5)


def test_independent_networks_are_better_together():
    scores = scores_of(form_ensembles(networks(30), TRUTH))
    assert scores[-1].accuracy > scores[0].accuracy + 0.15
    assert scores[-1].nll < scores[0].nll


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_another_precision_are_scored_alike(dtype):
    found = form_ensembles(networks(2).to(dtype), TRUTH)
    expected = form_ensembles(networks(2).to(dtype).float(), TRUTH)
    assert scores_of(found) == scores_of(expected)


def test_without_foreign_inputs_there_is_no_auroc():
    found = scores_of(form_ensembles(networks(5, num_foreign=0), TRUTH))
    assert {(score.ood_auroc, score.ood_auroc_ci95) for score in found} == {(None, None)}


def test_networks_are_asked_one_by_one_and_none_is_changed():
    given = networks(5)
    before = given.clone()
    form_ensembles(iter(given), TRUTH)
    assert given.equal(before)


def test_the_largest_ensemble_is_drawn():
    found = form_ensembles(networks(7), TRUTH)
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
        "original": form_ensembles(networks(30, 1), TRUTH),
        "generated": form_ensembles(networks(30, 2, skill=3.0), TRUTH),
        "average@all": form_ensembles(networks(1, 3), TRUTH),
    }
    found = compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0))
    assert [(one.reference, one.members) for one in found] == [
        *(("original", members) for members in SIZES),
        ("average@all", 1),
    ]
    for one in found:
        own, other = (
            next(score for score in scores_of(groups[name]) if score.members == one.members)
            for name in ("generated", one.reference)
        )
        assert one.accuracy == pytest.approx(own.accuracy - other.accuracy, abs=1e-6)
        assert one.nll == pytest.approx(own.nll - other.nll, abs=1e-5)
        assert one.accuracy_ci95[0] <= one.accuracy <= one.accuracy_ci95[1]
        assert one.nll_ci95[0] <= one.nll <= one.nll_ci95[1]
        assert one.ood_auroc == pytest.approx(own.ood_auroc - other.ood_auroc, abs=1e-9)
        assert one.ood_auroc_ci95[0] <= one.ood_auroc <= one.ood_auroc_ci95[1]
        assert one.nll_calibrated is one.nll_calibrated_ci95 is None
    assert found[0].accuracy_ci95[0] > 0 and found[0].nll_ci95[1] < 0  # planted: more skill


def test_an_ensemble_against_itself_differs_by_nothing():
    same = form_ensembles(networks(1), TRUTH, Validation(networks(1, 4, 0), TRUTH))
    groups = {"generated": same, "original": same}
    (one,) = compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0))
    for score in ("accuracy", "nll", "nll_calibrated", "ood_auroc"):
        assert (getattr(one, score), *getattr(one, f"{score}_ci95")) == (0, 0, 0), score


def test_levels_have_intervals_about_them():
    given = Validation(networks(30, 4, 0), TRUTH)
    for score in scores_of(form_ensembles(networks(30), TRUTH, given))[:3]:
        for name in ("accuracy", "nll", "nll_calibrated", "ood_auroc"):
            low, high = getattr(score, f"{name}_ci95")
            assert low < getattr(score, name) < high, (name, score)


def test_several_ensembles_are_drawn_anew_too():
    """Half of the pairs are right everywhere, the others nowhere: one pair says nothing of all."""
    right = torch.zeros(NUM_TEST, NUM_CLASSES).scatter_(1, TRUTH[:, None], 1.0)
    given = torch.stack([right, right, 1 - right, 1 - right] * 2) / 2
    (single, pair, _) = scores_of(form_ensembles(given, TRUTH))
    assert pair.num_ensembles == 4 and pair.accuracy == 0.5
    assert pair.accuracy_ci95[1] - pair.accuracy_ci95[0] > 0.7
    assert single.accuracy_ci95[1] - single.accuracy_ci95[0] > 0.5


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_one_number_spoiled(temperature):
    """Labels are drawn from probabilities, which are then made too sure or not sure enough."""
    draws = generator(3)
    true = (2 * torch.randn(6000, NUM_CLASSES, generator=draws)).softmax(1)
    labels = torch.multinomial(true, 1, generator=draws)[:, 0]
    spoiled = tempered(true, 1 / temperature)
    found = best_temperature(spoiled, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    mended = tempered(spoiled, found)
    assert negative_log_likelihood(mended, labels).mean() == pytest.approx(
        float(negative_log_likelihood(true.double(), labels).mean()), abs=0.01
    )
    assert mended.argmax(1).equal(spoiled.argmax(1))


def test_one_temperature_makes_equal_of_who_differ_by_it_alone():
    """Raw, the unsure networks look far worse; calibrated they are the same."""
    sure, own = networks(10, 1, skill=3.0), networks(10, 6, 0, skill=3.0)

    def group(temperature):
        warmed = (one.log().div(temperature).softmax(2) for one in (sure[:1], own[:1]))
        test, validation = warmed
        return form_ensembles(test, TRUTH, Validation(validation, TRUTH))

    groups = {"generated": group(1.0), "original": group(5.0)}
    (one,) = compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0))
    assert one.nll_ci95[1] < -0.2
    assert one.nll_calibrated == pytest.approx(0, abs=1e-3)
    its = [scores_of(groups[name])[0].temperature for name in ("generated", "original")]
    assert its[0] == pytest.approx(5 * its[1], rel=0.01)


def test_placements_are_a_double_loop_and_average_to_the_area():
    probabilities = networks(1)[0]
    probabilities[NUM_TEST] = probabilities[0]  # a tie
    confidence = probabilities.max(1).values
    below, above = placements(probabilities, NUM_TEST)
    test, foreign = confidence[:NUM_TEST, None], confidence[None, NUM_TEST:]
    pairs = (test > foreign).double() + (test == foreign).double() / 2
    torch.testing.assert_close(below, pairs.mean(1))
    torch.testing.assert_close(above, pairs.mean(0))
    assert float(below.mean()) == pytest.approx(ood_auroc(probabilities, NUM_TEST))


def test_the_interval_of_the_area_is_that_of_drawing_both_kinds_of_inputs():
    """Beside a bootstrap by hand that draws test and foreign inputs and computes the area anew."""
    (one,) = networks(1, skill=0.5)
    (found,) = score_ensembles(form_ensembles([one], TRUTH), Bootstrap.over(NUM_TEST, seed=0), 0)
    draws, areas = generator(8), []
    for _ in range(600):
        test = torch.randint(NUM_TEST, (NUM_TEST,), generator=draws)
        foreign = NUM_TEST + torch.randint(NUM_FOREIGN, (NUM_FOREIGN,), generator=draws)
        areas.append(ood_auroc(one[torch.cat([test, foreign])], NUM_TEST))
    low, high = torch.tensor(areas).quantile(torch.tensor([0.025, 0.975])).tolist()
    assert found.ood_auroc_ci95 == pytest.approx((low, high), abs=0.025)


def test_without_generated_networks_nothing_is_compared():
    groups = {"original": form_ensembles(networks(2), TRUTH)}
    assert compare_ensembles(groups, Bootstrap.over(NUM_TEST, seed=0)) == ()


@pytest.mark.parametrize(
    ("nll", "size"),
    [
        (0.40, 1.0),
        (0.30, 1.0),
        (0.25, 1.5),
        (0.20, 2.0),
        (0.15, 3.5),
        (0.10, 5.0),
        (0.09, None),
    ],
)
def test_an_ensemble_is_worth_so_many_originals(nll, size):
    found = equivalent_size(nll, {1: 0.3, 2: 0.2, 5: 0.1})
    assert found == (None if size is None else pytest.approx(size))


def test_larger_ensembles_that_are_worse_count_as_what_came_before():
    assert equivalent_size(0.2, {1: 0.3, 2: 0.2, 5: 0.25}) == pytest.approx(2.0)
