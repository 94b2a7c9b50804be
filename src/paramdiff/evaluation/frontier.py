"""The frontier: the best accuracy that costs nothing, at every degree of similarity.

The frontier at ``s`` is the best mean accuracy of any free alternative whose similarity is at most
``s``. It is drawn twice. Over the similarity to the nearest original, because who copies the
originals is as good as they are; over the similarity within the group, because a common shift away
from the originals lowers the first for all alike and is no diversity. To be better than what is
free, generated networks must lie above both. Where no free alternative is as dissimilar, nothing
is extrapolated.

Free is what needs the originals alone: a greedy soup, which needs labels too, competes with the
best of N, which is chosen by the same labels.
"""

from typing import Literal

from paramdiff.evaluation.schema import Frontier, FrontierPoint, Group

Measure = Literal["max_similarity", "pairwise_similarity"]
MEASURES: tuple[Measure, ...] = ("max_similarity", "pairwise_similarity")

AS_DISSIMILAR: dict[Measure, str] = {
    "max_similarity": "at least as unlike the originals",
    "pairwise_similarity": "at least as varied among themselves",
}
"""How a group is called that is as dissimilar as another by either measure."""

YARDSTICKS = ("generated", "reconstructed", "held_out", "random", "permuted", "rearranged")
"""What is judged, made with a trained codec, kept aside, or there as a sanity anchor."""

TOLERANCE = 0.005
"""An alternative may be this much more similar and still count as equally dissimilar."""


def frontier(groups: dict[str, Group], measure: Measure) -> Frontier:
    """The frontier over one similarity, and what it holds against the generated networks.

    Args:
        groups: every group's numbers, ``generated`` among them.
        measure: which similarity.

    Returns:
        The frontier's points, and the best free alternative that is as dissimilar as the generated
        networks, where there is one.
    """
    free = [
        FrontierPoint(group=name, similarity=similarity, accuracy=group.accuracy.mean)
        for name, group in groups.items()
        if name not in YARDSTICKS
        and group.data_used == "none"
        and (similarity := similarity_of(group, measure)) is not None
    ]
    points: list[FrontierPoint] = []
    for point in sorted(free, key=lambda p: (p.similarity, -p.accuracy)):
        if not points or point.accuracy > points[-1].accuracy:
            points.append(point)
    at = similarity_of(groups["generated"], measure)
    eligible = [point for point in free if at is not None and point.similarity <= at + TOLERANCE]
    best = max(eligible, key=lambda point: point.accuracy, default=None)
    return Frontier(points=tuple(points), at=at, reference=None if best is None else best.group)


def similarity_of(group: Group, measure: Measure) -> float | None:
    """A group's mean similarity, by either measure; None where it has none."""
    if measure == "pairwise_similarity":
        return group.pairwise_similarity
    return None if group.max_similarity is None else group.max_similarity.mean
