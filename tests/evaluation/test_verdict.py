"""Planted cases, each with the verdict that it must get; then the words by themselves.

The classifiers are linear, so that what is planted is known exactly (see ``linear.py``).
"""

import pytest
import torch

from paramdiff.evaluation.frontier import SIMILARITIES, is_baseline
from paramdiff.evaluation.outcome import outcome
from paramdiff.evaluation.score_info import plain
from paramdiff.evaluation.verdict import find
from paramdiff.evaluation.verdict_text import write_verdict

from .linear import (
    SIZE,
    evaluated,
    good,
    shifted,
    to,
    typical,
    warnings,
    without_errors,
    words,
)


def drawn(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outcomes(evaluation):
    """How the generated networks stand at matched novelty and diversity."""
    level = evaluation.groups["original"].score.mean
    return {
        axis: outcome(to(evaluation, found.reference), evaluation.score_info, level)
        for axis in SIMILARITIES
        if (found := evaluation.frontier[axis]).reference is not None
    }


def test_copies_are_named_and_not_called_better():
    """Expected: copies of the originals, exactly as good as they are; nothing new."""
    originals = good(30, 1)
    evaluation, _ = evaluated(originals.flip(0), originals)
    assert evaluation.verdict.headline == "Copies of the originals: nothing new was made."
    generated = evaluation.groups["generated"]
    assert generated.copies == 1
    assert generated.max_similarity.mean == 1
    assert generated.min_distance.max == 0 and generated.nearest_ratio == 0
    assert generated.dispersion == pytest.approx(1)
    assert generated.score.mean == evaluation.groups["original"].score.mean
    comparison = to(evaluation, "original")
    assert comparison.difference == 0
    assert comparison.ci95[0] < 0 < comparison.ci95[1]
    assert "30 of 30 generated networks lie so near" in " ".join(evaluation.verdict.sentences)
    assert "better than" not in words(evaluation)
    assert "collapse" not in warnings(evaluation)
    # an original, by contrast, is compared with others only
    assert evaluation.groups["original"].max_similarity.mean < 0.99
    assert evaluation.groups["original"].min_distance.min > 0


def test_copies_with_a_whisper_are_copies_too():
    """Expected: the same; nobody would call an original new for its last digits."""
    originals = good(30, 1)
    evaluation, _ = evaluated(originals + 0.02 * drawn(30, SIZE), originals)
    assert evaluation.verdict.headline.startswith("Copies of the originals")


def test_copies_of_a_part_are_counted_but_are_no_verdict():
    originals = good(30, 1)
    evaluation, _ = evaluated(torch.cat([originals[:6], good(14, 3)]), originals)
    assert evaluation.groups["generated"].copies == pytest.approx(0.3)
    assert "6 of 20 generated networks" in " ".join(evaluation.verdict.sentences)
    assert "copies of the originals:" not in evaluation.verdict.headline.lower()


def test_the_average_and_a_whisper_is_a_collapse():
    """Expected: as good as the average at a fraction of the spread; a warning; not better."""
    originals = good(30, 1)
    evaluation, _ = evaluated(originals.mean(0) + 0.01 * drawn(20, SIZE), originals)
    assert evaluation.groups["generated"].dispersion < 0.1
    assert "collapse" in warnings(evaluation)
    headline = evaluation.verdict.headline
    assert headline.endswith("with 0.04 of the originals' dispersion.")
    assert not headline.startswith(("Better", "Worse"))
    assert not {"better", "worse"} & set(outcomes(evaluation).values())
    # better than the originals, and that is the trap: the average is as good
    assert to(evaluation, "original").ci95[0] > 0
    average = to(evaluation, "average@all")
    assert average.ci95[0] <= 0 <= average.ci95[1]


@pytest.mark.parametrize(("spread", "warns"), [(0.7, True), (0.9, False), (1.1, False)])
def test_collapse_is_told_below_0_8(spread, warns):
    originals = good(30, 1)
    generated = originals.mean(0) + spread * (originals - originals.mean(0))
    evaluation, _ = evaluated(generated, originals)
    assert evaluation.groups["generated"].dispersion == pytest.approx(spread, rel=1e-4)
    assert ("collapse" in warnings(evaluation)) == warns


def test_too_much_spread_is_told():
    originals = good(30, 1)
    generated = originals.mean(0) + 1.3 * (originals - originals.mean(0))
    evaluation, _ = evaluated(generated, originals)
    assert "spread 1.30 times as widely" in warnings(evaluation)


def test_draws_from_the_fitted_gaussian_are_no_better_than_a_gaussian():
    """Expected: not better; no warning of a collapse or of copies."""
    originals = good(30, 1)
    generated = originals.mean(0) + originals.std(0) * drawn(30, SIZE)
    evaluation, _ = evaluated(generated, originals)
    baseline = to(evaluation, "gaussian@1.0")
    assert baseline.ci95[0] <= 0 <= baseline.ci95[1]
    assert "better" not in outcomes(evaluation).values()
    assert not evaluation.verdict.headline.startswith(("Better", "Copies"))
    assert evaluation.groups["generated"].copies == 0
    assert "collapse" not in warnings(evaluation)


def test_draws_from_the_fitted_gaussian_are_seldom_called_better():
    """Expected: over many zoos and draws, no more often than intervals of 95% allow."""
    called = 0
    for seed in range(4):
        originals = good(40, 100 + seed)
        generated = originals.mean(0) + originals.std(0) * drawn(40, SIZE, seed=seed)
        evaluation, _ = evaluated(generated, originals, seed=seed)
        called += evaluation.verdict.headline.startswith("Better")
    assert called <= 1  # each has a chance of 2.5% at most


def test_what_knows_how_parameters_hang_together_is_better_than_every_baseline():
    """Expected: better, on both scales. All originals favor one class, and each has a number
    added to all classes alike, which changes no prediction: averages keep the fault, independent
    draws per coordinate add a worse one. The generator knows of both."""
    faulty = {"shift": 1.0, "spread": 0.2, "fault": 1.5}
    evaluation, _ = evaluated(
        shifted(30, 5, 1.0, 0.2),
        shifted(30, 6, **faulty),
        held_out=shifted(10, 7, **faulty),
        seed=2,
    )
    assert evaluation.verdict.headline == (
        "Better than every baseline at matched novelty and at matched diversity."
    )
    assert outcomes(evaluation) == dict.fromkeys(SIMILARITIES, "better")
    for name, group in evaluation.groups.items():
        if is_baseline(name, group):
            assert to(evaluation, name).ci95[0] > 0, (name, group.score.mean)
    assert evaluation.groups["generated"].copies == 0
    assert "collapse" not in warnings(evaluation)


def test_what_knows_the_originals_distribution_beats_a_gaussian_and_not_the_originals():
    """Expected: as good as the originals; far better than draws that ignore how values hang
    together."""
    evaluation, _ = evaluated(shifted(30, 5), shifted(30, 6), held_out=shifted(10, 7))
    for name in ("gaussian@0.5", "gaussian@1.0", "gaussian@1.5"):
        assert to(evaluation, name).ci95[0] > 0.1
    original = to(evaluation, "original")
    assert original.ci95[0] <= 0 <= original.ci95[1]
    assert not evaluation.verdict.headline.startswith(("Better", "Worse"))


def test_broken_networks_are_worse_than_everything():
    """Expected: worse, than the originals and than every baseline."""
    evaluation, _ = evaluated(-good(20, 3))
    assert evaluation.verdict.headline.startswith("Worse than")
    assert all(one.ci95[1] < 0 for one in evaluation.comparisons if one.reference != "random")
    assert "as good as" not in words(evaluation)


def alone(evaluation):
    """The frontiers of an evaluation where no baseline competes."""
    return {
        axis: found.model_copy(update={"reference": None, "unbeaten": ()})
        for axis, found in evaluation.frontier.items()
    }


def judge(*arguments):
    return write_verdict(find(*arguments))


def judged(evaluation, frontiers=None, **groups):
    return judge(
        evaluation.groups | groups,
        list(evaluation.comparisons),
        evaluation.frontier if frontiers is None else frontiers,
        evaluation.best_of_n,
        evaluation.score_info,
    )


def test_where_no_baseline_matches_the_originals_alone_are_compared():
    evaluation, _ = evaluated(-good(20, 3))
    verdict = judged(evaluation, alone(evaluation))
    assert verdict.headline == (
        "Worse than the originals; no baseline matches them in novelty or diversity."
    )
    assert verdict.reference is None
    assert verdict.sentences[0].startswith("No baseline matches the generated networks in novelty")


def test_without_a_baseline_the_headline_still_tells_what_data_were_used():
    evaluation, _ = typical()
    generated = evaluation.groups["generated"].model_copy(update={"data_used": "labels"})
    verdict = judged(evaluation, alone(evaluation), generated=generated)
    assert "no baseline matches them in novelty or diversity, using training labels" in (
        verdict.headline
    )


def with_difference(evaluation, **differences):
    """Comparisons whose intervals are 0.01 about the differences, by reference."""
    return [
        one.model_copy(
            update={
                "difference": difference,
                "ci95": (difference - 0.01, difference + 0.01),
                "needed": None,
            }
        )
        if (difference := differences.get(one.reference)) is not None
        else one
        for one in evaluation.comparisons
    ]


@pytest.mark.parametrize(
    ("at_novelty", "at_diversity", "expected"),
    [
        (0.05, 0.05, "Better than every baseline at matched novelty and at matched diversity."),
        (
            0.05,
            0.001,
            "Better than SWAG samples at matched novelty; not distinguishable from noised "
            "checkpoints at matched diversity.",
        ),
        (
            -0.05,
            0.05,
            "Worse than SWAG samples at matched novelty; better than noised checkpoints at "
            "matched diversity.",
        ),
        (
            -0.05,
            -0.04,
            "Worse than SWAG samples at matched novelty; worse than noised checkpoints at matched "
            "diversity.",
        ),
    ],
)
def test_mixed_outcomes_name_their_axis(at_novelty, at_diversity, expected):
    evaluation, _ = typical()
    decide = {"max_similarity": "swag@1.0", "pairwise_similarity": "noise@0.15"}
    frontiers = {
        axis: evaluation.frontier[axis].model_copy(
            update={"reference": decide[axis], "unbeaten": ()}
        )
        for axis in SIMILARITIES
    }
    verdict = judge(
        evaluation.groups
        | {
            "generated": evaluation.groups["generated"].model_copy(
                update={"copies": 0.0, "dispersion": 1.0}
            )
        },
        with_difference(evaluation, **{"swag@1.0": at_novelty, "noise@0.15": at_diversity}),
        frontiers,
        evaluation.best_of_n,
        evaluation.score_info,
    )
    assert verdict.headline == expected
    # sentences never contradict the headline
    for noun, difference in (("novelty", at_novelty), ("diversity", at_diversity)):
        sentence = next(one for one in verdict.sentences if one.startswith(f"At matched {noun}"))
        relation = (
            "better than"
            if difference > 0.01
            else "worse than"
            if difference < -0.01
            else "not distinguishable from"
        )
        assert f"are {relation} that" in sentence
    decisive = "swag@1.0" if at_novelty < at_diversity else "noise@0.15"
    assert verdict.reference == decisive or at_novelty == at_diversity


def test_one_baseline_that_is_not_beaten_is_enough_not_to_be_better():
    """Test data find it, among many: it is never called more than not distinguishable."""
    evaluation, _ = typical()
    frontiers = {
        axis: evaluation.frontier[axis].model_copy(
            update={"reference": "swag@1.0", "unbeaten": ("kde", "noise@0.15")}
        )
        for axis in SIMILARITIES
    }
    differences = {"swag@1.0": 0.05, "noise@0.15": -0.05, "kde": 0.001}
    verdict = judge(
        evaluation.groups,
        with_difference(evaluation, **differences),
        frontiers,
        evaluation.best_of_n,
        evaluation.score_info,
    )
    assert verdict.headline.startswith("Not distinguishable from noised checkpoints")
    assert verdict.reference == "noise@0.15"


def test_what_would_decide_is_told_where_nothing_is_decided():
    evaluation, _ = typical()
    undecided = [one for one in evaluation.comparisons if one.needed is not None]
    level = evaluation.groups["original"].score.mean
    for one in evaluation.comparisons:
        if one.needed is not None:
            assert outcome(one, evaluation.score_info, level) == "undecided"
    assert undecided
    one = undecided[0]
    frontiers = {
        axis: evaluation.frontier[axis].model_copy(update={"reference": one.reference})
        for axis in SIMILARITIES
    }
    told = judged(evaluation, frontiers).sentences[0]
    assert "would decide." in told


# ---- where nothing is right or wrong


def test_without_errors_dispersion_decides():
    """Expected: better than what is at least as dispersed, in a case that is better than all."""
    faulty = {"shift": 1.0, "spread": 0.2, "fault": 1.5}
    evaluation, arrays = evaluated(
        shifted(30, 5, 1.0, 0.2),
        shifted(30, 6, **faulty),
        held_out=shifted(10, 7, **faulty),
        how=without_errors(),
        seed=2,
    )
    assert evaluation.verdict.headline == "Better than every baseline at matched dispersion."
    sentences = evaluation.verdict.sentences
    assert sentences[0].startswith("At matched dispersion, the strongest baseline is")
    assert sum("average of all checkpoints" in one for one in sentences) == 1
    assert "points of share" in sentences[0]
    told = words(evaluation)
    assert "novelty in behavior is not measured" in told
    assert "errors" not in told and "accuracy" not in told
    assert not any("similarity" in name for name in arrays)
    for group in evaluation.groups.values():
        assert group.max_similarity is None and group.pairwise_similarity is None
        assert group.min_distance is not None
    assert evaluation.frontier["max_similarity"].points == ()


def test_without_errors_copies_and_collapse_are_told_as_ever():
    originals = good(30, 1)
    evaluation, _ = evaluated(originals.flip(0), originals, how=without_errors())
    assert evaluation.verdict.headline == "Copies of the originals: nothing new was made."
    collapsed = originals.mean(0) + 0.01 * drawn(20, SIZE)
    evaluation, _ = evaluated(collapsed, originals, how=without_errors())
    assert "share alone would reward this" in warnings(evaluation)
    assert evaluation.verdict.headline.endswith("of the originals' dispersion.")
    assert not evaluation.verdict.headline.startswith("Better")


def test_without_errors_broken_networks_are_worse():
    evaluation, _ = evaluated(-good(20, 3), how=without_errors())
    assert evaluation.verdict.headline.startswith("Worse than")
    assert evaluation.verdict.headline.endswith("at matched dispersion.")


def test_without_errors_copying_is_tested_in_parameters_alone():
    runs = 100 + torch.arange(30)
    evaluation, _ = evaluated(
        good(20, 3), held_out=good(30, 2), held_out_runs=runs, how=without_errors()
    )
    found = evaluation.groups["generated"].z_u
    assert found.behavior is None and abs(found.parameters) < 4
    assert "data-copying test" in words(evaluation)
    equal = good(1, 3).repeat(20, 1)  # nor can a group without spread be stretched
    evaluation, _ = evaluated(equal, held_out=good(30, 2), how=without_errors())
    assert evaluation.groups["generated"].z_u is None


def test_without_errors_one_network_has_no_dispersion_to_match():
    evaluation, _ = evaluated(good(1, 3), good(2, 1), held_out=good(0, 2), how=without_errors())
    assert evaluation.verdict.reference is None
    assert "no baseline matches them in dispersion" in evaluation.verdict.headline
    assert "average of all checkpoints" in words(evaluation)


# ---- the words by themselves


def test_who_has_labels_is_told_what_they_are_worth():
    evaluation, _ = typical()
    sentence = next(one for one in evaluation.verdict.sentences if "labels" in one)
    own = evaluation.best_of_n["generated"]
    soup = evaluation.groups["greedy_soup"].score.mean
    low, high = own.ci95
    assert (
        f"best of {own.n} generated networks reaches {100 * own.test_score:.1f}% "
        f"[{100 * low:.1f} to {100 * high:.1f}] on test data" in sentence
    )
    assert f"greedy soup of the originals {100 * soup:.1f}% [" in sentence


def test_without_enough_held_out_runs_distances_stand_side_by_side_and_claim_no_more():
    evaluation, _ = typical()
    told = next(one for one in evaluation.verdict.sentences if "descriptions" in one)
    for name in ("generated", "original", "held_out"):
        assert plain(evaluation.groups[name].min_distance.mean, 3) in told
    assert "needs at least 10 held-out training runs" in told and "0% are copies" in told
    assert "data-copying" not in words(evaluation)
    tested, _ = evaluated(good(20, 3), held_out_runs=100 + torch.arange(10))
    assert "descriptions" not in words(tested)
    assert "data-copying test against 10 runs" in words(tested)
    none, _ = evaluated(good(20, 3), held_out=good(0, 2))
    assert "descriptions" in words(none) and "a held-out network" not in words(none)
