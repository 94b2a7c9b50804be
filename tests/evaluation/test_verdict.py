"""Planted cases, each with the verdict that it must get; then the words by themselves.

The classifiers are linear, so that what is planted is known exactly (see ``linear.py``).
"""

import pytest
import torch

from paramdiff.evaluation.frontier import MEASURES, YARDSTICKS
from paramdiff.evaluation.schema import Comparison
from paramdiff.evaluation.score import plain
from paramdiff.evaluation.verdict import judge, relation

from .linear import SIZE, evaluated, good, shifted, to, warnings, without_errors, words


def drawn(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outcomes(evaluation):
    """How the generated networks stand on either frontier, where there is a rival."""
    return {
        measure: relation(to(evaluation, found.reference))
        for measure, found in evaluation.frontier.items()
        if found.reference is not None
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
    assert generated.accuracy.mean == evaluation.groups["original"].accuracy.mean
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
    assert headline.startswith("As good as the average of all checkpoints, and no better, at 0.04")
    assert outcomes(evaluation) == dict.fromkeys(MEASURES, "as good as")
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


def test_draws_from_the_fitted_gaussian_are_as_good_as_a_gaussian():
    """Expected: as good as what is free, and no better; no warning of a collapse or of copies."""
    originals = good(30, 1)
    generated = originals.mean(0) + originals.std(0) * drawn(30, SIZE)
    evaluation, _ = evaluated(generated, originals)
    rival = to(evaluation, "gaussian@1.0")
    assert rival.ci95[0] <= 0 <= rival.ci95[1]
    assert "as good as" in outcomes(evaluation).values()
    assert not evaluation.verdict.headline.startswith(("Better", "Worse", "Copies"))
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


def test_what_knows_how_parameters_hang_together_is_better_than_all_that_is_free():
    """Expected: better, on both scales. All originals favour one class, and each has a number
    added to all classes alike, which changes no prediction: averages keep the fault, independent
    draws per coordinate add a worse one. The generator knows of both."""
    faulty = {"shift": 1.0, "spread": 0.2, "fault": 1.2}
    evaluation, _ = evaluated(
        shifted(30, 5, 1.0, 0.2), shifted(30, 6, **faulty), held_out=shifted(10, 7, **faulty)
    )
    assert evaluation.verdict.headline == (
        "Better than every free alternative that is as unlike the originals."
    )
    assert outcomes(evaluation) == dict.fromkeys(MEASURES, "better than")
    for name, group in evaluation.groups.items():
        if group.data_used == "none" and name not in YARDSTICKS:
            assert to(evaluation, name).ci95[0] > 0, (name, group.accuracy.mean)
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
    """Expected: worse, than the originals and than every free alternative."""
    evaluation, _ = evaluated(-good(20, 3))
    assert evaluation.verdict.headline.startswith("Worse than")
    assert all(one.ci95[1] < 0 for one in evaluation.comparisons if one.reference != "random")
    assert "as good as" not in words(evaluation)


def test_what_no_free_alternative_resembles_is_compared_with_the_originals_alone():
    """Expected: nothing is extrapolated, and it is said that there is no rival."""
    evaluation, _ = evaluated(-good(20, 3))
    frontier = evaluation.frontier["max_similarity"]
    assert frontier.at < min(point.similarity for point in frontier.points) - 0.005
    assert frontier.reference is None
    assert any(
        "no free alternative is at least as unlike the originals" in one.lower()
        for one in evaluation.verdict.sentences
    )


def test_without_a_rival_the_headline_still_tells_what_data_were_used():
    evaluation, _ = evaluated(good(20, 3))
    generated = evaluation.groups["generated"].model_copy(update={"data_used": "labels"})
    alone = {
        measure: found.model_copy(update={"reference": None})
        for measure, found in evaluation.frontier.items()
    }
    verdict = judge(
        evaluation.groups | {"generated": generated},
        list(evaluation.comparisons),
        alone,
        evaluation.best_of_n,
        evaluation.score,
    )
    assert "no free alternative is as dissimilar, using training labels" in verdict.headline


# ---- where nothing is right or wrong


def test_without_errors_a_gaussian_of_equal_spread_and_the_average_decide():
    """Expected: better than both, in a case that is better than every free alternative."""
    faulty = {"shift": 1.0, "spread": 0.2, "fault": 1.2}
    evaluation, arrays = evaluated(
        shifted(30, 5, 1.0, 0.2),
        shifted(30, 6, **faulty),
        held_out=shifted(10, 7, **faulty),
        how=without_errors(),
    )
    spread = evaluation.groups["generated"].dispersion
    rival = f"gaussian@{round(spread, 2)}"
    assert evaluation.verdict.headline == (
        "Better than a fitted Gaussian and the average of all checkpoints."
    )
    assert evaluation.verdict.reference in (rival, "average@all")
    sentences = evaluation.verdict.sentences
    assert (
        "which spreads as widely and is free" in sentences[0] and f"{spread:.2f}" in sentences[0]
    )
    assert "one network, made for free" in sentences[1]
    assert sum("average of all checkpoints" in one for one in sentences) == 1
    assert "points of share" in sentences[0]
    told = words(evaluation)
    assert "novelty in behaviour is not measured" in told
    assert "dissimilar" not in told and "errors" not in told and "accuracy" not in told
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
    assert evaluation.verdict.headline.endswith("of the originals' spread.")
    assert not evaluation.verdict.headline.startswith("Better")


def test_without_errors_broken_networks_are_worse():
    evaluation, _ = evaluated(-good(20, 3), how=without_errors())
    assert evaluation.verdict.headline == "Worse than the average of all checkpoints."


def test_without_errors_copying_is_tested_in_parameters_alone():
    runs = 100 + torch.arange(30)
    evaluation, _ = evaluated(
        good(20, 3), held_out=good(30, 2), held_out_runs=runs, how=without_errors()
    )
    found = evaluation.groups["generated"].z_u
    assert found.behaviour is None and abs(found.parameters) < 4
    assert "data-copying test" in words(evaluation)
    equal = good(1, 3).repeat(20, 1)  # nor can a group without spread be stretched
    evaluation, _ = evaluated(equal, held_out=good(30, 2), how=without_errors())
    assert evaluation.groups["generated"].z_u is None


def test_without_errors_one_network_of_each_has_the_average_beside_it():
    evaluation, _ = evaluated(good(1, 3), good(2, 1), held_out=good(0, 2), how=without_errors())
    assert evaluation.verdict.reference == "average@all"


# ---- the words by themselves


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.001, 0.02), "better than"),
        ((-0.02, -0.001), "worse than"),
        ((-0.01, 0.01), "as good as"),
        ((0.0, 0.01), "as good as"),
        ((-0.01, 0.0), "as good as"),
        ((0.0, 0.0), "as good as"),
        ((0.0001, 0.0008), "as good as"),
        ((-0.0008, -0.0001), "as good as"),
        ((0.0001, 0.0012), "better than"),
    ],
)
def test_a_difference_is_sure_and_no_trifle(interval, expected):
    """The difference itself lies amid its interval; below 0.05 points it is a trifle."""
    comparison = Comparison(
        group="generated",
        reference="x",
        reference_dispersion=None,
        difference=sum(interval) / 2,
        ci95=interval,
    )
    assert relation(comparison) == expected


def test_what_is_a_trifle_depends_on_the_score():
    comparison = Comparison(
        group="generated", reference="x", reference_dispersion=None, difference=2.0, ci95=(1, 3)
    )
    assert relation(comparison, 1.9) == "better than"
    assert relation(comparison, 2.1) == "as good as"


def test_who_has_labels_is_told_what_they_are_worth():
    evaluation, _ = evaluated(good(20, 3))
    sentence = next(one for one in evaluation.verdict.sentences if "labels" in one)
    own = evaluation.best_of_n["generated"]
    soup = evaluation.groups["greedy_soup"].accuracy.mean
    low, high = own.ci95
    assert (
        f"best of {own.n} generated networks reaches {100 * own.test_accuracy:.1f}% "
        f"[{100 * low:.1f} to {100 * high:.1f}] on test data" in sentence
    )
    assert f"greedy soup of the originals {100 * soup:.1f}% [" in sentence


def test_without_enough_held_out_runs_distances_stand_side_by_side_and_claim_no_more():
    evaluation, _ = evaluated(good(20, 3))
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
