"""The few numbers that the first screen shows, each with what it is to be read against."""

from dataclasses import dataclass

from paramdiff.evaluation.schema import Comparison, Evaluation
from paramdiff.report import words
from paramdiff.report.families import SUBJECTS, label_of


@dataclass(frozen=True)
class KeyNumber:
    """A number in large type.

    Args:
        name: what it is.
        value: the number, as text.
        unit: what follows it in smaller type.
        against: what it is to be compared with.
        meaning: what it means, for a reader who meets the word for the first time.
    """

    name: str
    value: str
    unit: str
    against: tuple[str, ...]
    meaning: str


def key_numbers(evaluation: Evaluation) -> list[KeyNumber]:
    """Accuracy, advantage over what is free, similarity and spread of the generated networks."""
    cards = [_accuracy(evaluation), _advantage(evaluation), _similarity(evaluation)]
    return [card for card in [*cards, _dispersion(evaluation)] if card is not None]


def decisive(evaluation: Evaluation) -> tuple[Comparison, bool] | None:
    """The comparison with a free alternative that the first screen shows.

    Args:
        evaluation: the groups and their comparisons.

    Returns:
        The comparison that decided the verdict and True; where no alternative spreads equally, the
        one of nearest dispersion and False; None where nothing is comparable.
    """
    generated = evaluation.groups.get("generated")
    if generated is None or not generated.dispersion:
        return None
    free = {
        comparison.reference: comparison
        for comparison in evaluation.comparisons
        if comparison.group == "generated"
        and comparison.reference not in SUBJECTS
        and comparison.reference_dispersion is not None
    }
    if evaluation.verdict.reference in free:
        return free[evaluation.verdict.reference], True
    ratios = {
        name: abs((comparison.reference_dispersion or 0) / generated.dispersion - 1)
        for name, comparison in free.items()
    }
    return (free[min(ratios, key=lambda name: ratios[name])], False) if free else None


def _accuracy(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None:
        return None
    against = [f"95% interval {words.interval(generated.accuracy.ci95, 1)}"]
    for name, who in (("original", "originals"), ("held_out", "held-out checkpoints")):
        if name in evaluation.groups:
            mean = evaluation.groups[name].accuracy.mean
            against.append(f"{who} {words.percent(mean)}")
    return KeyNumber(
        "Accuracy of the generated networks",
        f"{100 * generated.accuracy.mean:.2f}",
        "%",
        tuple(against),
        "Interval: with other test examples and other networks, the mean would lie about here "
        "95 times in 100.",
    )


def _advantage(evaluation: Evaluation) -> KeyNumber | None:
    found = decisive(evaluation)
    if found is None:
        return None
    comparison, is_equal = found
    reference = evaluation.groups.get(comparison.reference)
    accuracy = f", {words.percent(reference.accuracy.mean)}" if reference else ""
    nearest = "best free alternative of equal spread" if is_equal else "free alternative"
    return KeyNumber(
        f"Generated minus {nearest}",
        words.points(comparison.difference),
        "points",
        (
            f"95% interval {words.points_interval(comparison.ci95)}",
            f"the alternative: {label_of(comparison.reference)}{accuracy}",
        ),
        "Paired on the same test examples."
        if is_equal
        else "None spreads equally; this is the nearest. Paired on the same test examples.",
    )


def _similarity(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.max_similarity is None:
        return None
    against = []
    for name, who in (("original", "originals to one another"), ("held_out", "held-out")):
        group = evaluation.groups.get(name)
        if group is not None and group.max_similarity is not None:
            against.append(f"{who} {words.number(group.max_similarity.mean)}")
    return KeyNumber(
        "Similarity to the nearest original",
        words.number(generated.max_similarity.mean),
        "IoU",
        tuple(against),
        "Overlap of the wrong predictions of two networks, intersection over union: 1 is a copy, "
        "0 shares no mistake.",
    )


def _dispersion(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.dispersion is None:
        return None
    return KeyNumber(
        "Spread of the generated parameters",
        words.number(generated.dispersion),
        "of the originals\u2019",
        (words.spread(generated.dispersion),),
        "Dispersion: standard deviation of the parameters across networks, relative to that of "
        "the originals. 0 is one network repeated.",
    )
