"""The outcome of a paired comparison: only intervals decide, and equivalence has to be shown.

An interval that contains 0 shows no difference; it does not show that there is none. Two groups
are called as good as each other only if the whole interval lies within a margin that was stated
beforehand (equivalence by confidence interval inclusion; Schuirmann 1987 with 90 % intervals, here
with the reported 95 %).
"""

import math
from typing import Literal

from paramdiff.evaluation.comparison_schema import Comparison, Needed, Pair
from paramdiff.evaluation.score_info import ScoreInfo

Outcome = Literal["better", "worse", "equivalent", "undecided"]
ACCURACY_MARGIN = 0.005
"""Half a point: the margin of equivalence for accuracies, unless a recipe states another."""
Z95 = 1.959964
LARGEST_FACTOR = 100
"""More than this many times the data is no practical advice."""

RELATIONS: dict[Outcome, str] = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "as good as",
    "undecided": "not distinguishable from",
}


def outcome(comparison: Comparison, score: ScoreInfo, original: float = 1.0) -> Outcome:
    """Decide a comparison.

    Args:
        comparison: a paired difference with its 95 % interval.
        score: what is compared; states the margin of equivalence.
        original: the originals' mean score, see ``ScoreInfo.negligible``.

    Returns:
        ``better`` or ``worse`` if the interval excludes 0 and the difference is not negligible,
        ``equivalent`` if it lies within the margin, else ``undecided``.
    """
    low, high = comparison.ci95
    if abs(comparison.difference) >= score.negligible(original):
        if low > 0:
            return "better"
        if high < 0:
            return "worse"
    margin = score.equivalence_margin
    is_equal = low == high == 0  # nothing differs, whatever the margin
    is_within = margin is not None and -margin < low and high < margin
    return "equivalent" if is_equal or is_within else "undecided"


def needed(
    difference: float,
    ci95: Pair,
    margin: float | None,
    variances: tuple[float, float],
    sizes: tuple[int, int],
) -> Needed | None:
    """Estimate how many networks or examples would decide a comparison.

    Args:
        difference: found.
        ci95: its interval.
        margin: of equivalence, if any.
        variances: of the difference from the draw of networks and from that of examples.
        sizes: networks in the smaller group that varies, and examples.

    Returns:
        The numbers; None where no practical number would do, or there is no uncertainty.
    """
    half = (ci95[1] - ci95[0]) / 2
    wanted = max(abs(difference), 0.0 if margin is None else margin - abs(difference))
    total = sum(variances)
    if wanted <= 0 or half <= 0 or total <= 0 or (half / wanted) ** 2 > LARGEST_FACTOR:
        return None
    # the two-level bootstrap's variance is larger than the sum of both parts
    scale = (half / Z95) ** 2 / total
    of_networks, of_examples = (scale * one for one in variances)
    target = (wanted / Z95) ** 2
    return Needed(
        networks=_grown(of_networks, target - of_examples, sizes[0]),
        examples=_grown(of_examples, target - of_networks, sizes[1]),
        factor=(half / wanted) ** 2,
    )


def _grown(variance: float, allowed: float, size: int) -> int | None:
    """Return the size at which a part of the variance falls to what is allowed."""
    if allowed <= 0 or variance > LARGEST_FACTOR * allowed:
        return None
    return math.ceil(size * max(variance / allowed, 1.0))
