"""The verdict as data: how the generated networks compare with the baseline that decides.

Only paired differences with intervals decide. ``verdict_text`` writes the sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from paramdiff.evaluation.comparison_schema import BestOfN, Comparison, Frontier
from paramdiff.evaluation.frontier import AxisName, deciding_axes
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.diversity import LOWEST_DISPERSION
from paramdiff.evaluation.outcome import Outcome, outcome
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.group_names import role_of

COPIERS = 0.5
"""The share of copies above which a generator is called a copier."""
COPYING = -3.0
"""``Z_U`` below which generated networks are nearer to the originals than held-out ones are."""
ORDER: tuple[Outcome, ...] = ("worse", "undecided", "equivalent", "better")


@dataclass(frozen=True)
class AxisFinding:
    """The generated networks beside the baseline that decides on one axis.

    Attributes:
        axis: at which they are made comparable.
        comparison: with that baseline.
        outcome: of the comparison.
        is_strongest: whether the baseline has the best validation score of those that compete;
            if not, it is one that the generated networks do not beat on test data.
    """

    axis: AxisName
    comparison: Comparison
    outcome: Outcome
    is_strongest: bool


@dataclass(frozen=True)
class Findings:
    """Everything that the sentences of a verdict rest on.

    Attributes:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: reference to the paired difference ``generated`` minus that reference.
        outcomes: reference to the outcome of that comparison.
        axes: the deciding axes, and the frontier along each.
        on: the findings on those axes on which a baseline competes.
        best_of_n: the best networks on validation data.
        score_info: of the task's score.
    """

    groups: Mapping[str, Group]
    comparisons: Mapping[str, Comparison]
    outcomes: Mapping[str, Outcome]
    axes: Mapping[AxisName, Frontier]
    on: Mapping[AxisName, AxisFinding]
    best_of_n: Mapping[str, BestOfN]
    score_info: ScoreInfo

    @property
    def generated(self) -> Group:
        """The generated networks' numbers."""
        return self.groups["generated"]

    @cached_property
    def decisive(self) -> AxisFinding | None:
        """The finding on the axis on which the generated networks do worst."""
        return min(self.on.values(), key=lambda one: self.order(one.comparison), default=None)

    @cached_property
    def data_matched(self) -> list[Comparison]:
        """The comparisons with data-matched baselines."""
        return [
            comparison
            for name, comparison in self.comparisons.items()
            if role_of(name) == "data-matched baseline"
        ]

    @property
    def is_copier(self) -> bool:
        """Return whether most generated networks are copies."""
        return self.generated.copies is not None and self.generated.copies > COPIERS

    @property
    def is_collapsed(self) -> bool:
        """Return whether the generated networks vary much less than the originals."""
        dispersion = self.generated.dispersion
        return dispersion is not None and dispersion < LOWEST_DISPERSION

    @property
    def lowest_z(self) -> float | None:
        """The lowest statistic of the data-copying test; None if there was no test."""
        test = self.generated.z_u
        if test is None:
            return None
        return min(z for z in (test.behavior, test.parameters) if z is not None)

    def order(self, comparison: Comparison) -> tuple[int, float]:
        """Return the sort key of a comparison: the worst for the generated networks first."""
        return ORDER.index(self.outcomes[comparison.reference]), comparison.difference


def find(
    groups: Mapping[str, Group],
    comparisons: Sequence[Comparison],
    frontiers: Mapping[AxisName, Frontier],
    best_of_n: Mapping[str, BestOfN],
    score_info: ScoreInfo,
) -> Findings:
    """Decide every comparison, and find the baseline that decides on each axis.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: paired differences of ``generated`` to others.
        frontiers: the strongest baseline on each axis, and those that are not beaten.
        best_of_n: the best networks on validation data.
        score_info: of the task's score.

    Returns:
        The findings.
    """
    level = groups["original"].score.mean
    to = {comparison.reference: comparison for comparison in comparisons}
    outcomes = {name: outcome(comparison, score_info, level) for name, comparison in to.items()}
    deciding = deciding_axes(has_errors=score_info.has_errors)
    axes = {name: frontiers[name] for name in deciding if name in frontiers}
    return Findings(
        groups=groups,
        comparisons=to,
        outcomes=outcomes,
        axes=axes,
        on={
            name: _on_axis(name, found, to, outcomes)
            for name, found in axes.items()
            if found.reference is not None
        },
        best_of_n=best_of_n,
        score_info=score_info,
    )


def _on_axis(
    name: AxisName,
    found: Frontier,
    to: Mapping[str, Comparison],
    outcomes: Mapping[str, Outcome],
) -> AxisFinding:
    """Compare with the strongest baseline, or with the one that spoils a "better"."""
    assert found.reference is not None
    strongest = AxisFinding(name, to[found.reference], outcomes[found.reference], True)
    unbeaten = [to[other] for other in found.unbeaten if other != found.reference]
    if strongest.outcome != "better" or not unbeaten:
        return strongest
    # that one was found on test data, among many: never call it more than not distinguishable
    closest = min(unbeaten, key=lambda comparison: comparison.difference)
    is_equal = outcomes[closest.reference] == "equivalent"
    return AxisFinding(name, closest, "equivalent" if is_equal else "undecided", False)
