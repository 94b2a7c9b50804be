"""The two main figures: scores against similarity, to the nearest original and within the group.

The best baselines at every similarity draw a step line, the frontier. Generated networks pay off
where they lie above it in both figures.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from paramdiff.evaluation.comparison_schema import Frontier
from paramdiff.evaluation.frontier import AXES, Axis
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import in_reading_order, is_control, label_of
from paramdiff.report import text
from paramdiff.report.figures.plane import Plane, Spot
from paramdiff.report.figures.score_scale import height_of
from paramdiff.report.style import Arrays, Illustration, Size, embed
from paramdiff.report.tables import lowest_shown
from paramdiff.report.text import ShownScore

BESIDE: Size = (5.5, 5.1)
NARROW: Size = (3.9, 4.3)


@dataclass(frozen=True)
class View:
    """Properties in which the two figures differ.

    Args:
        axis: which similarity lies on the horizontal axis.
        label: its name there.
        alike: its name in a sentence.
    """

    axis: Axis
    label: str
    alike: str


TO_ORIGINALS = View(
    AXES["max_similarity"],
    "similarity to the nearest original",
    "similarity to the nearest original",
)
WITHIN = View(
    AXES["pairwise_similarity"],
    "similarity of a group's networks to each other",
    "similarity within the group",
)


def frontier_to_originals(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the score against similarity to the nearest original.

    Args:
        evaluation: the numbers.
        arrays: ``score/GROUP`` and ``max_similarity/GROUP`` ``[M]`` for the clouds of dots.

    Returns:
        The figure, in a wide and in a narrow drawing; None if the generated networks have no
        such similarity.
    """
    return _frontier(evaluation, arrays, TO_ORIGINALS)


def frontier_within(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the score against the mean similarity of a group's networks to each other.

    Args:
        evaluation: the numbers.
        arrays: as for ``frontier_to_originals``, so that both figures have one vertical scale.

    Returns:
        The figure, in a wide and in a narrow drawing; None for a single generated network.
    """
    return _frontier(evaluation, arrays, WITHIN)


def _frontier(evaluation: Evaluation, arrays: Arrays, view: View) -> Illustration | None:
    spots = _spots(evaluation, view.axis)
    if "generated" not in spots or view.axis.name not in evaluation.frontier:
        return None
    found, score = evaluation.frontier[view.axis.name], ShownScore.of(evaluation)
    plane = Plane(
        spots=tuple(spots.values()),
        steps=tuple((point.place, point.score) for point in found.points),
        reference=found.reference,
        axis=view.label,
        lowest=lowest_shown(evaluation),
        height=height_of(score, evaluation.num_test),
        score_name=score.reported,
        scores=tuple(
            group.score.mean for name, group in evaluation.groups.items() if not is_control(name)
        ),
        arrays=arrays,
        has_clouds=view is TO_ORIGINALS,
    )
    generated = spots["generated"]
    outside = plane.outside()
    return Illustration(
        source=embed(lambda figure: plane.draw(figure, with_details=True), BESIDE),
        narrow=embed(lambda figure: plane.draw(figure, with_details=False), NARROW),
        width=round(BESIDE[0] * 96),
        alt=f"{score.title} against {view.alike}. {in_words(generated, score)}. "
        + _told("Frontier of the baselines, from the least similar", _points(found), score),
        caption=f"{score.title} against {view.alike}. {_finding(found, spots, view, score)}"
        + _told(" Outside the view", outside, score),
    )


def _spots(evaluation: Evaluation, axis: Axis) -> dict[str, Spot]:
    """List the groups that have a place on an axis, the controls last."""
    names = in_reading_order(evaluation.groups)
    found = {}
    for name in sorted(names, key=is_control):
        group = evaluation.groups[name]
        similarity = axis.of_group(group)
        if similarity is not None:
            found[name] = Spot(name, similarity, group.score.mean, bool(group.matched_to))
    return found


def _points(found: Frontier) -> list[Spot]:
    return [Spot(point.group, point.place, point.score) for point in found.points]


def _finding(found: Frontier, spots: dict[str, Spot], view: View, score: ShownScore) -> str:
    """Describe where the generated networks lie in the figure."""
    own = spots["generated"]
    place = f"{score.text(own.score)} at {text.number(own.similarity)}"
    if found.reference is None or found.reference not in spots:
        return (
            f"No baseline matches the generated networks ({place}) in {view.axis.noun}, so none "
            "is compared with them here."
        )
    best = spots[found.reference]
    return (
        f"At matched {view.axis.noun} the strongest baseline"
        f"{'' if score.info.selects_on_test else ' on validation data'} is "
        f"{label_of(best.name)} (ringed): {score.text(best.score)} at "
        f"{text.number(best.similarity)}; the generated networks {place}."
    )


def in_words(spot: Spot, score: ShownScore) -> str:
    """A group and where it lies."""
    return f"{label_of(spot.name)}: {score.text(spot.score, 1)} at {text.number(spot.similarity)}"


def _told(introduction: str, spots: Iterable[Spot], score: ShownScore) -> str:
    listed = "; ".join(in_words(spot, score) for spot in spots)
    return f"{introduction}: {listed}." if listed else ""
