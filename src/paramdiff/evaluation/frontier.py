"""The frontier: the best score that needs no generator, at every degree of similarity.

A generated network can be accurate because it copies an original or lies near their average, so a
baseline is compared with it *at matched novelty* (similarity to the nearest original), *at matched
diversity* (similarity within the group) and *at matched dispersion* (of the parameters). On each
of these axes a baseline competes if it is at most as similar, or at least as dispersed, as the
generated networks are. Every method with a strength is also made at the strength at which it is
just that (``matched_strengths``), so that no gap between fixed strengths leaves a weaker baseline.

The baseline that decides is chosen on validation data by the standing of *other* networks made the
same way. Its test score is therefore no maximum over many, and its interval needs no correction.
Similarities on a small validation split are noisy: what turns out to be far more alike on test
data was not matched, and does not compete.

Baselines need the originals alone, and at most unlabeled inputs on which BatchNorm statistics are
re-estimated. What validation labels choose is left out here; a greedy soup competes with the best
of N instead.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from paramdiff.evaluation.comparison_schema import Frontier, FrontierPoint
from paramdiff.evaluation.group_schema import Group, Standing
from paramdiff.methods.group_names import method_of

AxisName = Literal["max_similarity", "pairwise_similarity", "dispersion"]


@dataclass(frozen=True)
class Axis:
    """A quantity at which groups are made comparable.

    Attributes:
        name: of the quantity in ``evaluation.json``.
        noun: completes "at matched ...".
        tolerance: on validation data a baseline may be this much more alike and still compete.
        slack: the same on test data, where nothing is matched anew.
        of_group: a group's place, measured on test data.
        of_standing: its place, measured on validation data.
        less_is_new: whether lower values mean more novelty or diversity.
    """

    name: AxisName
    noun: str
    tolerance: float
    slack: float
    of_group: Callable[[Group], float | None]
    of_standing: Callable[[Standing], float | None]
    less_is_new: bool = True

    def excess(self, place: float, target: float) -> float:
        """Return how much more alike a place is than the target; at most 0 if it competes."""
        return place - target if self.less_is_new else target - place

    def admits(self, baseline: Group, generated: Group) -> bool:
        """Return whether a baseline is at most as alike as the generated networks."""
        if baseline.validation is None or generated.validation is None:
            return False
        places = [self.of_standing(one) for one in (baseline.validation, generated.validation)]
        on_test = [self.of_group(one) for one in (baseline, generated)]
        return self._within(places, self.tolerance) and self._within(on_test, self.slack)

    def _within(self, places: Sequence[float | None], allowed: float) -> bool:
        place, target = places
        return place is not None and target is not None and self.excess(place, target) <= allowed


def _novelty(group: Group) -> float | None:
    """Similarity to the nearest original; a noised checkpoint's own source counts like any other.

    Nobody excuses a generator the original that it copied, so nobody excuses a baseline.
    """
    found = group.max_similarity_with_source or group.max_similarity
    return None if found is None else found.mean


AXES: dict[AxisName, Axis] = {
    axis.name: axis
    for axis in (
        Axis("max_similarity", "novelty", 0.005, 0.05, _novelty, lambda one: one.max_similarity),
        Axis(
            "pairwise_similarity",
            "diversity",
            0.005,
            0.05,
            lambda group: group.pairwise_similarity,
            lambda one: one.pairwise_similarity,
        ),
        Axis(
            "dispersion",
            "dispersion",
            0.01,
            0.1,
            lambda group: group.dispersion,
            lambda one: one.dispersion,
            less_is_new=False,
        ),
    )
}
SIMILARITIES: tuple[AxisName, ...] = ("max_similarity", "pairwise_similarity")
"""The axes that decide wherever something is right or wrong."""


def deciding_axes(*, has_errors: bool) -> tuple[AxisName, ...]:
    """Return the axes on which the verdict rests; without errors there is only dispersion."""
    return SIMILARITIES if has_errors else ("dispersion",)


def is_baseline(name: str, group: Group) -> bool:
    """Return whether a group needs no generator and no labels."""
    uses_nothing = group.data_used == "none" or group.finish == "batchnorm"
    method = method_of(name)
    needs_originals = method.role == "baseline" or method.name == "original"
    return needs_originals and uses_nothing and group.data_used != "labels"


def frontier(
    groups: Mapping[str, Group], axis: Axis, better_than: Container[str] = ()
) -> Frontier:
    """Compute the frontier along one axis and choose the baseline that decides there.

    Args:
        groups: every group's numbers, ``generated`` among them.
        axis: at which groups are made comparable.
        better_than: the groups that the generated networks are better than.

    Returns:
        The points that no less similar (or more dispersed) baseline beats, measured on test data;
        the generated networks' place; and the baseline with the best validation score among those
        that compete on validation data.
    """
    baselines = {
        name: group
        for name, group in groups.items()
        # an original is its own nearest original: it is not novel at all
        if is_baseline(name, group)
        and not (name in ("original", "original+bn") and axis.noun == "novelty")
    }
    places = {name: axis.of_group(group) for name, group in baselines.items()}
    placed = [
        FrontierPoint(group=name, place=place, score=baselines[name].score.mean)
        for name, place in places.items()
        if place is not None
    ]
    points: list[FrontierPoint] = []
    for point in sorted(placed, key=lambda p: (axis.excess(p.place, 0), -p.score)):
        if not points or point.score > points[-1].score:
            points.append(point)
    competing = {
        name: group.validation.score
        for name, group in baselines.items()
        if group.validation is not None and axis.admits(group, groups["generated"])
    }
    return Frontier(
        points=tuple(points),
        at=axis.of_group(groups["generated"]),
        reference=max(competing, key=competing.__getitem__, default=None),
        unbeaten=tuple(name for name in competing if name not in better_than),
    )
