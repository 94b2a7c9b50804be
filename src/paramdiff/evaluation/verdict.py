"""What follows from the numbers, in words; only paired differences decide."""

from collections.abc import Mapping

from paramdiff.evaluation.frontier import AS_DISSIMILAR, Measure
from paramdiff.evaluation.phrases import in_words, kind_in_words
from paramdiff.evaluation.schema import BestOfN, Comparison, Frontier, Group, Verdict

LOWEST_DISPERSION, HIGHEST_DISPERSION = 0.8, 1.25
"""Outside of these the generated networks spread unlike the originals, and the report warns."""
NEGLIGIBLE = 0.0005
"""A difference of less than 0.05 points is none, however sure it is: pairing on thousands of test
examples makes differences sure that nobody would choose by."""
FEWEST_ERRORS = 50
COPIERS = 0.5
"""The share of copies above which a generator is called a copier."""
COPYING = -3.0
"""``Z_U`` below which generated networks are nearer to the originals than fresh ones are."""


def relation(comparison: Comparison) -> str:
    """``better than`` or ``worse than`` where the interval excludes 0, else ``as good as``."""
    low, high = comparison.ci95
    if abs(comparison.difference) < NEGLIGIBLE:
        return "as good as"
    return "better than" if low > 0 else "worse than" if high < 0 else "as good as"


def judge(
    groups: dict[str, Group],
    comparisons: list[Comparison],
    frontiers: Mapping[Measure, Frontier],
    best_of_n: dict[str, BestOfN],
) -> Verdict:
    """Write the verdict.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: paired differences of ``generated`` to others.
        frontiers: the best free alternatives, by either similarity.
        best_of_n: what is best on validation data.

    Returns:
        A headline and sentences; warnings are added by ``cautions``.
    """
    by_reference = {comparison.reference: comparison for comparison in comparisons}
    against = {
        measure: by_reference[found.reference]
        for measure, found in frontiers.items()
        if found.reference is not None
    }
    # what decides is the frontier on which the generated networks do worst
    decisive = min(against.values(), key=_order, default=None)
    copies = _copies(groups["generated"])
    is_copier = _is_copier(groups["generated"])
    sentences = list(copies) if is_copier else []  # what decides comes first
    sentences += [_of_frontier(measure, frontiers[measure], against) for measure in frontiers]
    sentences.append(f"The generated networks are {_clause(by_reference['original'])}.")
    average = by_reference.get("average@all")
    if average is not None and average not in against.values():
        sentences.append(
            f"The generated networks are {_clause(average)}: one network, made for free."
        )
    sentences += _with_labels(groups, best_of_n)
    sentences += ([] if is_copier else copies) + _novelty(groups)
    return Verdict(
        headline=_headline(groups["generated"], decisive, by_reference["original"], against),
        reference=None if decisive is None else decisive.reference,
        sentences=tuple(sentences),
        warnings=(),
    )


def _order(comparison: Comparison) -> tuple[int, float]:
    rank = ("worse than", "as good as", "better than").index(relation(comparison))
    return rank, comparison.difference


def _headline(
    generated: Group,
    decisive: Comparison | None,
    to_originals: Comparison,
    against: Mapping[Measure, Comparison],
) -> str:
    if _is_copier(generated):
        return "Copies of the originals: nothing new was made."
    if decisive is None:
        words = relation(to_originals).capitalize()
        return f"{words} the originals; no free alternative is as dissimilar."
    outcomes = {relation(comparison) for comparison in against.values()}
    other = kind_in_words(decisive.reference)
    if outcomes == {"better than"}:
        headline = "Better than every free alternative that is as unlike the originals"
    elif outcomes == {"worse than"}:
        headline = f"Worse than {other}"
    elif outcomes == {"as good as"}:
        headline = f"As good as {other}, and no better"
    else:  # above, at or below, depending on the similarity that one asks for
        headline = f"No better than {other}"
    if generated.dispersion is not None and generated.dispersion < LOWEST_DISPERSION:
        headline += f", at {generated.dispersion:.2f} of the originals' spread"
    return f"{headline}."


def _of_frontier(
    measure: Measure, frontier: Frontier, against: Mapping[Measure, Comparison]
) -> str:
    if measure in against:
        return (
            f"Of the free alternatives that are {AS_DISSIMILAR[measure]}, the best is "
            f"{in_words(against[measure].reference)}: the generated networks are "
            f"{relation(against[measure])} that ({points(against[measure])})."
        )
    if frontier.at is None:
        return f"Whether a free alternative is {AS_DISSIMILAR[measure]} cannot be said here."
    return (
        f"No free alternative is {AS_DISSIMILAR[measure]} as the generated networks, so there is "
        "none to compare them with on that scale."
    )


def _with_labels(groups: dict[str, Group], best_of_n: dict[str, BestOfN]) -> list[str]:
    """What labelled validation data adds: the answer for who wants one good network."""
    soup = groups.get("greedy_soup")
    if soup is None or "generated" not in best_of_n or "original" not in best_of_n:
        return []
    own, original = best_of_n["generated"], best_of_n["original"]
    return [
        f"With labels to choose by, the best of {own.n} generated networks reaches "
        f"{100 * own.test_accuracy:.1f}% on test data, the best of {original.n} originals "
        f"{100 * original.test_accuracy:.1f}%, a greedy soup of the originals "
        f"{100 * soup.accuracy.mean:.1f}%."
    ]


def points(comparison: Comparison) -> str:
    """A difference with its interval, in points of accuracy."""
    low, high = (100 * bound for bound in comparison.ci95)
    return (
        f"{100 * comparison.difference:+.2f} points of accuracy, "
        f"95% interval {low:+.2f} to {high:+.2f}"
    )


def _clause(comparison: Comparison) -> str:
    return f"{relation(comparison)} {in_words(comparison.reference)} ({points(comparison)})"


def _is_copier(generated: Group) -> bool:
    return generated.copies is not None and generated.copies > COPIERS


def _copies(generated: Group) -> list[str]:
    if not generated.copies:
        return []
    count = round(generated.copies * generated.n)
    return [
        f"{count} of {generated.n} generated networks lie so near to an original that they are "
        "copies of it."
    ]


def _novelty(groups: dict[str, Group]) -> list[str]:
    generated, original, held_out = (
        groups["generated"],
        groups["original"],
        groups.get("held_out"),
    )
    sentences = []
    if generated.max_similarity is not None and original.max_similarity is not None:
        fresh = (
            f", a held-out network's by {held_out.max_similarity.mean:.2f}"
            if held_out is not None and held_out.max_similarity is not None
            else ""
        )
        sentences.append(
            f"The errors of a generated network overlap by {generated.max_similarity.mean:.2f} "
            "with those of its nearest original; an original's by "
            f"{original.max_similarity.mean:.2f} with its nearest other original{fresh} (1 is "
            "identical)."
        )
    if generated.z_u is not None:
        smallest = min(
            z for z in (generated.z_u.behaviour, generated.z_u.parameters) if z is not None
        )
        outcome = (
            "nearer to the originals than networks of a held-out training run do, as copies and "
            "averages would"
            if smallest < COPYING
            else "no nearer to the originals than networks of a held-out training run do"
        )
        sentences.append(
            f"Generated networks lie {outcome} (data-copying test, Z = {smallest:.1f})."
        )
    return sentences
