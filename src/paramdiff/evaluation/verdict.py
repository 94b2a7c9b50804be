"""What follows from the numbers, in words; only paired differences decide."""

from collections.abc import Iterable, Mapping

from paramdiff.evaluation.copying import FEWEST_COMPARED
from paramdiff.evaluation.frontier import AS_DISSIMILAR, Measure
from paramdiff.evaluation.groups import matched_gaussian
from paramdiff.evaluation.phrases import in_words, kind_in_words
from paramdiff.evaluation.rivals import RIVALS
from paramdiff.evaluation.schema import BestOfN, Comparison, Frontier, Group, Verdict
from paramdiff.evaluation.score import NEGLIGIBLE, Score, plain
from paramdiff.evaluation.spread import LOWEST_DISPERSION

FEWEST_ERRORS = 50
COPIERS = 0.5
"""The share of copies above which a generator is called a copier."""
COPYING = -3.0
"""``Z_U`` below which generated networks are nearer to the originals than fresh ones are."""
FOR_FREE = ": one network, made for free."


def relation(comparison: Comparison, negligible: float = NEGLIGIBLE) -> str:
    """``better than`` or ``worse than`` where the interval excludes 0, else ``as good as``.

    Args:
        comparison: a paired difference.
        negligible: smaller differences are none, see ``Score.negligible``.

    Returns:
        The words.
    """
    low, high = comparison.ci95
    if abs(comparison.difference) < negligible:
        return "as good as"
    return "better than" if low > 0 else "worse than" if high < 0 else "as good as"


def judge(
    groups: dict[str, Group],
    comparisons: list[Comparison],
    frontiers: Mapping[Measure, Frontier],
    best_of_n: dict[str, BestOfN],
    score: Score,
) -> Verdict:
    """Write the verdict.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: paired differences of ``generated`` to others.
        frontiers: the best free alternatives, by either similarity.
        best_of_n: what is best on validation data.
        score: what the task scores.

    Returns:
        A headline and sentences; warnings are added by ``cautions``.
    """
    return _Judge(groups, comparisons, frontiers, best_of_n, score).verdict()


class _Judge:
    """What the sentences of a verdict share; arguments as those of ``judge``."""

    def __init__(
        self,
        groups: dict[str, Group],
        comparisons: list[Comparison],
        frontiers: Mapping[Measure, Frontier],
        best_of_n: dict[str, BestOfN],
        score: Score,
    ) -> None:
        self._groups, self._best_of_n, self._score = groups, best_of_n, score
        self._generated = groups["generated"]
        self._negligible = score.negligible(groups["original"].accuracy.mean)
        self._to = {comparison.reference: comparison for comparison in comparisons}
        self._frontiers = frontiers if score.has_errors else {}
        self._against = {
            measure: self._to[found.reference]
            for measure, found in self._frontiers.items()
            if found.reference is not None
        }
        self._rivals = [self._to[name] for name in RIVALS if name in self._to]
        # where nothing is wrong, no similarity tells which alternative is as dissimilar
        self._opponents = [] if score.has_errors else self._equal_in_spread()
        # what decides is where the generated networks do worst
        self._decisive = min(self._deciders(), key=self._order, default=None)

    def verdict(self) -> Verdict:
        """Headline and sentences."""
        copies, is_copier = _copies(self._generated), _is_copier(self._generated)
        sentences = list(copies) if is_copier else []  # what decides comes first
        sentences += [self._of_frontier(measure) for measure in self._frontiers]
        sentences += [self._of_opponent(comparison) for comparison in self._opponents]
        sentences += self._with_data()
        sentences.append(f"The generated networks are {self._clause(self._to['original'])}.")
        average = self._to.get("average@all")
        if average is not None and average not in self._deciders():
            sentences.append(f"The generated networks are {self._clause(average)}{FOR_FREE}")
        sentences += self._with_labels()
        sentences += ([] if is_copier else copies) + self._novelty()
        return Verdict(
            headline=self._headline(),
            reference=None if self._decisive is None else self._decisive.reference,
            sentences=tuple(sentences),
            warnings=(),
        )

    def _deciders(self) -> list[Comparison]:
        return [*self._against.values(), *self._opponents]

    def _equal_in_spread(self) -> list[Comparison]:
        """A Gaussian that spreads as widely, and the one network in the middle of all."""
        spread = self._generated.dispersion
        names = ([] if spread is None else [matched_gaussian(spread)]) + ["average@all"]
        return [self._to[name] for name in names if name in self._to]

    def _relation(self, comparison: Comparison) -> str:
        return relation(comparison, self._negligible)

    def _order(self, comparison: Comparison) -> tuple[int, float]:
        rank = ("worse than", "as good as", "better than").index(self._relation(comparison))
        return rank, comparison.difference

    def _headline(self) -> str:
        generated, decisive = self._generated, self._decisive
        if _is_copier(generated):
            return "Copies of the originals: nothing new was made."
        if decisive is None:
            words = self._relation(self._to["original"]).capitalize()
            why = "is as dissimilar" if self._score.has_errors else "could be made"
            return f"{words} the originals; no free alternative {why}{self._beside_data()}."
        outcomes = {self._relation(comparison) for comparison in self._deciders()}
        other = kind_in_words(decisive.reference)
        if outcomes == {"better than"}:
            headline = "Better than every free alternative that is as unlike the originals"
            if not self._score.has_errors:
                headline = f"Better than {_all_of(self._opponents)}"
        elif outcomes == {"worse than"}:
            headline = f"Worse than {other}"
        elif outcomes == {"as good as"}:
            headline = f"As good as {other}, and no better"
        else:  # above, at or below, depending on the similarity or the variety that one asks for
            headline = f"No better than {other}"
        if generated.dispersion is not None and generated.dispersion < LOWEST_DISPERSION:
            headline += f", at {generated.dispersion:.2f} of the originals' spread"
        return f"{headline}{self._beside_data()}."

    def _beside_data(self) -> str:
        """The end of the headline where the free alternatives had less to go by."""
        if self._generated.data_used == "none":
            return ""
        told = f", using training {self._generated.data_used}"
        strongest = min(self._rivals, key=self._order, default=None)
        if strongest is None:
            return told
        rival = kind_in_words(strongest.reference)
        return f"{told}; {self._relation(strongest)} {rival} with as many"

    def _with_data(self) -> list[str]:
        """What the data that the generator learned from give without it."""
        if self._generated.data_used == "none":
            return []
        told = f"The free alternatives used no data, the generator {self._generated.data.in_words}"
        if not self._rivals:
            return [f"{told}; nothing that saw as many could be put beside it."]
        clauses = " and ".join(self._clause(rival) for rival in self._rivals)
        return [f"{told}. Beside what saw as many, the generated networks are {clauses}."]

    def _of_frontier(self, measure: Measure) -> str:
        if measure in self._against:
            found = self._against[measure]
            return (
                f"Of the free alternatives that are {AS_DISSIMILAR[measure]}, the best is "
                f"{in_words(found.reference)}: the generated networks are "
                f"{self._relation(found)} that ({self._points(found)})."
            )
        if self._frontiers[measure].at is None:
            return f"Whether a free alternative is {AS_DISSIMILAR[measure]} cannot be said here."
        return (
            f"No free alternative is {AS_DISSIMILAR[measure]} as the generated networks, so there "
            "is none to compare them with on that scale."
        )

    def _of_opponent(self, comparison: Comparison) -> str:
        is_average = comparison.reference == "average@all"
        what = FOR_FREE if is_average else ", which spreads as widely and is free."
        return f"The generated networks are {self._clause(comparison)}{what}"

    def _with_labels(self) -> list[str]:
        """What validation data adds: the answer for who wants one good network."""
        soup, best = self._groups.get("greedy_soup"), self._best_of_n
        if soup is None or "generated" not in best or "original" not in best:
            return []
        own, original = best["generated"], best["original"]
        by = "labels" if self._score.is_accuracy else "validation data"
        return [
            f"With {by} to choose by, the best of {own.n} generated networks reaches "
            f"{self._level(own.test_accuracy, own.ci95)} on test data, the best of {original.n} "
            f"originals {self._level(original.test_accuracy, original.ci95)}, a greedy soup of "
            f"the originals {self._level(soup.accuracy.mean, soup.accuracy.ci95)} (95% intervals)."
        ]

    def _level(self, value: float, interval: tuple[float, float]) -> str:
        """A score with its interval."""
        low, high = (self._score.number(bound, 1) for bound in interval)
        return f"{self._score.text(value, 1)} [{low} to {high}]"

    def _points(self, comparison: Comparison) -> str:
        """A difference with its interval."""
        score = self._score
        low, high = (score.difference(bound) for bound in comparison.ci95)
        return (
            f"{score.difference(comparison.difference)} {score.of_difference}, "
            f"95% interval {low} to {high}"
        )

    def _clause(self, comparison: Comparison) -> str:
        return (
            f"{self._relation(comparison)} {in_words(comparison.reference)} "
            f"({self._points(comparison)})"
        )

    def _novelty(self) -> list[str]:
        generated = self._generated
        sentences = [*_overlap(self._groups)]
        if generated.z_u is None:
            sentences += _side_by_side(self._groups)
        if not self._score.has_errors:
            sentences.append(
                "Novelty in behaviour is not measured: this task calls nothing right or wrong, so "
                "no two networks can be wrong alike. Distances and spread of the parameters are."
            )
        if generated.z_u is not None:
            smallest = min(
                z for z in (generated.z_u.behaviour, generated.z_u.parameters) if z is not None
            )
            outcome = (
                "nearer to the originals than networks of held-out training runs do, as copies "
                "and averages would"
                if smallest < COPYING
                else "no nearer to the originals than networks of held-out training runs do, as "
                "far as a test can tell"
            )
            sentences.append(
                f"Generated networks lie {outcome} (data-copying test against "
                f"{generated.z_u.n_held_out} runs, Z = {smallest:.1f})."
            )
        return sentences


def _overlap(groups: dict[str, Group]) -> list[str]:
    original, generated = (groups[name].max_similarity for name in ("original", "generated"))
    if generated is None or original is None:
        return []
    held_out = groups["held_out"].max_similarity if "held_out" in groups else None
    fresh = "" if held_out is None else f", a held-out network's by {held_out.mean:.2f}"
    return [
        f"The errors of a generated network overlap by {generated.mean:.2f} with those of its "
        f"nearest original; an original's by {original.mean:.2f} with its nearest other original"
        f"{fresh} (1 is identical)."
    ]


def _side_by_side(groups: dict[str, Group]) -> list[str]:
    """Distances and copies, where there are too few held-out runs to test anything."""
    distances = {
        name: groups[name].min_distance
        for name in ("generated", "original", "held_out")
        if name in groups
    }
    own, original = distances["generated"], distances["original"]
    if own is None or original is None:
        return []
    fresh = distances.get("held_out")
    beside = "" if fresh is None else f", a held-out network {plain(fresh.mean, 3)}"
    copies = groups["generated"].copies
    share = "" if copies is None else f"; {100 * copies:.0f}% are copies of one"
    return [
        f"A generated network lies {plain(own.mean, 3)} from its nearest original in the space of "
        f"parameters, an original {plain(original.mean, 3)} from its nearest other original"
        f"{beside}{share}. These are descriptions: a test of copying needs at least "
        f"{FEWEST_COMPARED} held-out training runs."
    ]


def _all_of(comparisons: Iterable[Comparison]) -> str:
    return " and ".join(kind_in_words(comparison.reference) for comparison in comparisons)


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
