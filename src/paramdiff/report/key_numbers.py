"""The few numbers of the first screen, each beside those to compare it with."""

from dataclasses import dataclass

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import label_of, role_of
from paramdiff.report import text
from paramdiff.report.text import ShownScore


@dataclass(frozen=True)
class KeyNumber:
    """A number in large type.

    Args:
        name: label.
        value: the number, as text.
        unit: in smaller type after it.
        against: numbers to compare it with.
        meaning: a definition for newcomers.
    """

    name: str
    value: str
    unit: str
    against: tuple[str, ...]
    meaning: str


def key_numbers(evaluation: Evaluation) -> list[KeyNumber]:
    """Return score, advantage over the deciding baseline, similarity and dispersion."""
    cards = [_score(evaluation), _advantage(evaluation), _similarity(evaluation)]
    return [card for card in [*cards, _dispersion(evaluation)] if card is not None]


def _score(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None:
        return None
    score = ShownScore.of(evaluation)
    against = [f"95% interval {score.interval(generated.score.ci95, 1)}"]
    for name, who in (("original", "originals"), ("held_out", "held-out checkpoints")):
        if name in evaluation.groups:
            mean = evaluation.groups[name].score.mean
            against.append(f"{who} {score.text(mean)}")
    drawn = f"{score.examples} and networks" if score.info.is_per_example else "networks alone"
    return KeyNumber(
        f"{score.title} of the generated networks",
        score.number(generated.score.mean),
        score.unit,
        tuple(against),
        f"Interval: bootstrap over {drawn}.",
    )


def _advantage(evaluation: Evaluation) -> KeyNumber | None:
    """Compare with the baseline that decided; without one, with the originals."""
    reference = evaluation.verdict.reference
    by_reference = {
        comparison.reference: comparison
        for comparison in evaluation.comparisons
        if comparison.group == "generated"
    }
    comparison = by_reference.get(reference or "original")
    if comparison is None:
        return None
    score, group = ShownScore.of(evaluation), evaluation.groups.get(comparison.reference)
    accuracy = f", {score.text(group.score.mean)}" if group else ""
    return KeyNumber(
        "Generated minus the strongest matched baseline"
        if reference
        else "Generated minus originals",
        score.difference(comparison.difference),
        score.points,
        (
            f"95% interval {score.difference_interval(comparison.ci95)}",
            f"the baseline: {label_of(comparison.reference)}{accuracy}"
            if reference
            else f"originals{accuracy}",
            *_beside_data(evaluation, score),
        ),
        _basis(score) if reference else "No baseline could be matched to the generated networks.",
    )


def _beside_data(evaluation: Evaluation, score: ShownScore) -> list[str]:
    """Say which data the generator used, and compare it with baselines of as much data."""
    generated = evaluation.groups["generated"]
    if generated.data_used == "none":
        return []
    data_matched = {
        one.reference: one
        for one in evaluation.comparisons
        if role_of(one.reference) == "data-matched baseline"
    }
    return [
        f"it used no labels, the generator {generated.data_used}",
        *(
            f"minus {label_of(name)}, with as much data: {score.difference(one.difference)}"
            for name, one in data_matched.items()
        ),
    ]


def _basis(score: ShownScore) -> str:
    counted = "Percentage points of" if score.info.is_fraction else "Difference in"
    paired = f", paired on the same {score.examples}" if score.info.is_per_example else ""
    return f"{counted} {score.name}{paired}."


def _similarity(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.max_similarity is None:
        return None
    against = []
    for name, who in (
        ("original", "originals to their nearest other"),
        ("held_out", "held-out ones"),
    ):
        group = evaluation.groups.get(name)
        if group is not None and group.max_similarity is not None:
            against.append(f"{who} {text.number(group.max_similarity.mean)}")
    if generated.copies:
        against.append(f"{round(generated.copies * generated.n)} of {generated.n} are copies")
    return KeyNumber(
        "Similarity to the nearest original",
        text.number(generated.max_similarity.mean),
        "IoU",
        tuple(against),
        "Overlap of the wrong predictions of two networks, intersection over union: 1 is "
        "identical mistakes, 0 none in common.",
    )


def _dispersion(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.dispersion is None:
        return None
    return KeyNumber(
        "Dispersion of the generated parameters",
        text.number(generated.dispersion),
        "of the originals\u2019",
        (text.variety(generated.dispersion),),
        "Standard deviation of the parameters across networks, relative to that of "
        "the originals. 0 is one network repeated.",
    )
