"""What follows from the numbers, in words; only paired differences decide."""

from collections.abc import Mapping
from dataclasses import dataclass

from paramdiff.evaluation.comparison_schema import BestOfN, Comparison, Frontier
from paramdiff.evaluation.data_matched import RIVALS
from paramdiff.evaluation.frontier import AXES, AxisName, deciding_axes
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.diversity import LOWEST_DISPERSION
from paramdiff.evaluation.metrics.memorization import FEWEST_COMPARED
from paramdiff.evaluation.outcome import RELATIONS, Outcome, outcome
from paramdiff.evaluation.phrases import in_words, kind_in_words
from paramdiff.evaluation.schema import Verdict
from paramdiff.evaluation.score_info import ScoreInfo, plain

FEWEST_ERRORS = 50
COPIERS = 0.5
"""The share of copies above which a generator is called a copier."""
COPYING = -3.0
"""``Z_U`` below which generated networks are nearer to the originals than fresh ones are."""
ORDER: tuple[Outcome, ...] = ("worse", "undecided", "equivalent", "better")


@dataclass(frozen=True)
class AxisVerdict:
    """The generated networks beside the baseline that decides on one axis."""

    axis: AxisName
    comparison: Comparison
    outcome: Outcome

    @property
    def where(self) -> str:
        """Complete a sentence: ``at matched novelty``."""
        return f"at matched {AXES[self.axis].noun}"

    @property
    def relation(self) -> str:
        """Complete "the generated networks are ..."."""
        return RELATIONS[self.outcome]


def judge(
    groups: dict[str, Group],
    comparisons: list[Comparison],
    frontiers: Mapping[AxisName, Frontier],
    best_of_n: dict[str, BestOfN],
    score: ScoreInfo,
) -> Verdict:
    """Write the verdict.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: paired differences of ``generated`` to others.
        frontiers: the baseline that decides on each axis.
        best_of_n: what is best on validation data.
        score: what the task scores.

    Returns:
        A headline and sentences; warnings are added by ``find_warnings``.
    """
    return _Judge(groups, comparisons, frontiers, best_of_n, score).verdict()


class _Judge:
    """What the sentences of a verdict share; arguments as those of ``judge``."""

    def __init__(
        self,
        groups: dict[str, Group],
        comparisons: list[Comparison],
        frontiers: Mapping[AxisName, Frontier],
        best_of_n: dict[str, BestOfN],
        score: ScoreInfo,
    ) -> None:
        self._groups, self._best_of_n, self._score = groups, best_of_n, score
        self._generated = groups["generated"]
        self._to = {comparison.reference: comparison for comparison in comparisons}
        axes = deciding_axes(has_errors=score.has_errors)
        self._axes = {name: frontiers[name] for name in axes if name in frontiers}
        self._on = [
            self._on_axis(name, found)
            for name, found in self._axes.items()
            if found.reference is not None
        ]
        self._rivals = [self._to[name] for name in RIVALS if name in self._to]
        # what decides is where the generated networks do worst
        self._decisive = min(self._on, key=lambda one: self._order(one.comparison), default=None)

    def verdict(self) -> Verdict:
        """Headline and sentences."""
        copies, is_copier = _copies(self._generated), _is_copier(self._generated)
        sentences = list(copies) if is_copier else []  # what decides comes first
        sentences += [self._of_axis(name) for name in self._axes]
        sentences += self._with_data()
        sentences.append(f"The generated networks are {self._clause(self._to['original'])}.")
        sentences += self._last_step()
        average = self._to.get("average@all+bn") or self._to.get("average@all")
        if average is not None:
            sentences.append(
                f"The generated networks are {self._clause(average)}: one network, which needs no "
                "generator."
            )
        sentences += self._with_labels()
        sentences += ([] if is_copier else copies) + self._novelty()
        return Verdict(
            headline=self._headline(),
            reference=None if self._decisive is None else self._decisive.comparison.reference,
            sentences=tuple(sentences),
            warnings=(),
        )

    def _on_axis(self, name: AxisName, found: Frontier) -> AxisVerdict:
        """Compare with the strongest baseline, or with the one that spoils a "better"."""
        assert found.reference is not None
        deciding = AxisVerdict(name, (one := self._to[found.reference]), self._outcome(one))
        unbeaten = [self._to[other] for other in found.unbeaten if other != found.reference]
        if deciding.outcome != "better" or not unbeaten:
            return deciding
        # that one was found on test data, among many: never call it more than not distinguishable
        closest = min(unbeaten, key=lambda comparison: comparison.difference)
        is_equal = self._outcome(closest) == "equivalent"
        return AxisVerdict(name, closest, "equivalent" if is_equal else "undecided")

    def _outcome(self, comparison: Comparison) -> Outcome:
        return outcome(comparison, self._score, self._groups["original"].score.mean)

    def _order(self, comparison: Comparison) -> tuple[int, float]:
        return ORDER.index(self._outcome(comparison)), comparison.difference

    def _headline(self) -> str:
        generated, on = self._generated, self._on
        if _is_copier(generated):
            return "Copies of the originals: nothing new was made."
        nouns = " or ".join(AXES[name].noun for name in self._axes)
        if not on:
            words = RELATIONS[self._outcome(self._to["original"])].capitalize()
            return (
                f"{words} the originals; no baseline matches them in {nouns}{self._told_data()}."
            )
        if all(one.outcome == "better" for one in on):
            where = " and ".join(one.where for one in on)
            headline = f"Better than every baseline {where}"
        elif len({(one.outcome, one.comparison.reference) for one in on}) == 1:
            nouns = " and ".join(AXES[one.axis].noun for one in on)
            rival = kind_in_words(on[0].comparison.reference)
            headline = f"{on[0].relation.capitalize()} {rival} at matched {nouns}"
        else:
            clauses = [
                f"{one.relation} {kind_in_words(one.comparison.reference)} {one.where}"
                for one in on
            ]
            headline = "; ".join(clauses)
            headline = headline[0].upper() + headline[1:]
        if generated.dispersion is not None and generated.dispersion < LOWEST_DISPERSION:
            headline += f", with {generated.dispersion:.2f} of the originals' dispersion"
        return f"{headline}{self._told_data()}."

    def _last_step(self) -> list[str]:
        """Tell what re-estimated BatchNorm statistics alone are worth."""
        names = ("generated+bn", "original+bn")
        if not all(name in self._groups for name in names):
            return []
        own, original = (self._score.text(self._groups[name].score.mean) for name in names)
        return [
            f"With BatchNorm statistics re-estimated, as those of baselines are, the generated "
            f"networks reach {own} and the originals {original}."
        ]

    def _told_data(self) -> str:
        """End the headline where the baselines had less to go by."""
        if self._generated.data_used == "none":
            return ""
        told = f", using training {self._generated.data_used}"
        strongest = min(self._rivals, key=self._order, default=None)
        if strongest is None:
            return told
        rival = kind_in_words(strongest.reference)
        return f"{told}; {RELATIONS[self._outcome(strongest)]} {rival} with as many"

    def _with_data(self) -> list[str]:
        """Tell what the data that the generator learned from give without it."""
        if self._generated.data_used == "none":
            return []
        told = f"The generator used {self._generated.data.in_words}, the baselines none"
        if any(group.finish for group in self._groups.values()):
            told += " but unlabeled inputs for BatchNorm statistics"
        if not self._rivals:
            return [f"{told}; nothing that saw as many could be compared with it."]
        clauses = " and ".join(self._clause(rival) for rival in self._rivals)
        return [f"{told}. Of the data-matched baselines, it is {clauses}."]

    def _of_axis(self, name: AxisName) -> str:
        found, noun = self._axes[name], AXES[name].noun
        on = next((one for one in self._on if one.axis == name), None)
        if on is None and found.at is None:
            return f"No {noun} can be measured, so no baseline can be matched to it."
        if on is None:
            return (
                f"No baseline matches the generated networks in {noun}, so none is compared there."
            )
        reference = on.comparison.reference
        score = self._score.text(self._groups[reference].score.mean)
        own = self._score.text(self._generated.score.mean)
        strongest = (
            "the strongest baseline is" if reference == found.reference else "there is also"
        )
        return (
            f"At matched {noun}, {strongest} {in_words(reference)} with {score}: the generated "
            f"networks, with {own}, are {on.relation} that ({self._points(on.comparison)})."
            f"{self._enough(on.comparison) if on.outcome == 'undecided' else ''}"
        )

    def _enough(self, comparison: Comparison) -> str:
        """Tell what would decide."""
        enough = comparison.needed
        if enough is None:
            return ""
        examples = "examples" if self._score.selects_on_test else "test examples"
        ways = []
        if enough.networks is not None:
            ways.append(f"{enough.networks:,} networks of each kind")
        if enough.examples is not None:
            ways.append(f"{enough.examples:,} {examples}")
        if not ways:
            ways.append(f"{enough.factor:.1f} times as many networks and {examples}")
        return f" About {' or '.join(ways)} would decide."

    def _with_labels(self) -> list[str]:
        """What validation data adds: the answer for who wants one good network."""
        soup, best = self._groups.get("greedy_soup"), self._best_of_n
        if soup is None or "generated" not in best or "original" not in best:
            return []
        own, original = best["generated"], best["original"]
        by = "labels" if self._score.is_accuracy else "validation data"
        return [
            f"With {by} to choose by, the best of {own.n} generated networks reaches "
            f"{self._level(own.test_score, own.ci95)} on test data, the best of {original.n} "
            f"originals {self._level(original.test_score, original.ci95)}, a greedy soup of "
            f"the originals {self._level(soup.score.mean, soup.score.ci95)} (95% intervals)."
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
            f"{RELATIONS[self._outcome(comparison)]} {in_words(comparison.reference)} "
            f"({self._points(comparison)})"
        )

    def _novelty(self) -> list[str]:
        generated = self._generated
        sentences = [*_overlap(self._groups)]
        if generated.z_u is None:
            sentences += _side_by_side(self._groups)
        if not self._score.has_errors:
            sentences.append(
                "Novelty in behavior is not measured: this task calls nothing right or wrong, so "
                "no two networks can be wrong alike. Distances and spread of the parameters are."
            )
        if generated.z_u is not None:
            smallest = min(
                z for z in (generated.z_u.behavior, generated.z_u.parameters) if z is not None
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
