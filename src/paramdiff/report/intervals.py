"""Where each group's accuracy and interval lie on one scale: the small plots in the table."""

from collections.abc import Mapping
from dataclasses import dataclass

from paramdiff.evaluation.schema import Evaluation, Group

ERRORS_SHOWN = 2.5
"""Groups that err this many times as often as the originals are still on the scale."""


@dataclass(frozen=True)
class Mark:
    """A mean and its interval as positions from 0 (left) to 100 (right)."""

    low: float
    mean: float
    high: float


def lowest_shown(evaluation: Evaluation) -> float:
    """The lowest accuracy worth a place: a network at chance would squeeze all others together.

    The generated networks are always on the scale, however bad they are.
    """
    groups = evaluation.groups
    errors = []
    if "original" in groups:
        smallest = 2 / max(evaluation.num_test, 1)
        errors.append(ERRORS_SHOWN * max(1 - groups["original"].accuracy.mean, smallest))
    if "generated" in groups:
        errors.append(1.1 * (1 - groups["generated"].accuracy.ci95[0]))
    return 1 - min(max(errors, default=1.0), 1.0)


def marks(evaluation: Evaluation) -> dict[str, Mark | None]:
    """Every group's interval on one scale; None for groups that lie below it."""
    shown = _on_scale(evaluation.groups, lowest_shown(evaluation))
    bounds = [bound for group in shown.values() for bound in group.accuracy.ci95]
    low, high = min(bounds, default=0.0), max(bounds, default=1.0)
    width = (high - low) or 1.0

    def place(accuracy: float) -> float:
        return round(2 + 96 * (accuracy - low) / width, 2)

    return {
        name: Mark(
            place(group.accuracy.ci95[0]),
            place(group.accuracy.mean),
            place(group.accuracy.ci95[1]),
        )
        if name in shown
        else None
        for name, group in evaluation.groups.items()
    }


def _on_scale(groups: Mapping[str, Group], lowest: float) -> dict[str, Group]:
    return {name: group for name, group in groups.items() if group.accuracy.mean >= lowest}
