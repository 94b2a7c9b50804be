"""The sentences of a verdict, and its headline."""

from paramdiff.evaluation.frontier import AXES, AxisName
from paramdiff.evaluation.metrics.memorization import FEWEST_COMPARED
from paramdiff.evaluation.outcome import RELATIONS
from paramdiff.evaluation.schema import AxisOutcome, Comparison, Verdict
from paramdiff.evaluation.score_info import plain
from paramdiff.evaluation.verdict import COPYING, AxisFinding, Findings
from paramdiff.methods.group_names import phrase_of, short_phrase_of


def write_verdict(findings: Findings) -> Verdict:
    """Put findings into words.

    Args:
        findings: of ``verdict.find``.

    Returns:
        Outcomes, headline and sentences; warnings are added by ``find_warnings``.
    """
    return _Writer(findings).verdict()


def _where(one: AxisFinding) -> str:
    return f"at matched {AXES[one.axis].noun}"


class _Writer:
    """Writes the sentences of one verdict."""

    def __init__(self, findings: Findings) -> None:
        self._findings, self._groups = findings, findings.groups
        self._generated, self._score = findings.generated, findings.score_info
        self._on = list(findings.on.values())

    def verdict(self) -> Verdict:
        found, copies = self._findings, self._copies()
        sentences = list(copies) if found.is_copier else []  # the most important one first
        sentences += [self._of_axis(name) for name in found.axes]
        sentences += self._with_data()
        to = found.comparisons
        sentences.append(f"The generated networks are {self._clause(to['original'])}.")
        sentences += self._last_step()
        average = to.get("average@all+bn") or to.get("average@all")
        if average is not None:
            sentences.append(
                f"The generated networks are {self._clause(average)}: one network, which needs no "
                "generator."
            )
        sentences += self._with_labels()
        sentences += [] if found.is_copier else copies
        sentences += [*self._overlap(), *self._copying_test()]
        return Verdict(
            headline=self._headline(),
            reference=None if found.decisive is None else found.decisive.comparison.reference,
            outcomes={
                name: AxisOutcome(reference=one.comparison.reference, outcome=one.outcome)
                for name, one in found.on.items()
            },
            sentences=tuple(sentences),
            warnings=(),
        )

    def _headline(self) -> str:
        found, on = self._findings, self._on
        if found.is_copier:
            return "Copies of the originals: nothing new was made."
        nouns = " or ".join(AXES[name].noun for name in found.axes)
        if not on:
            words = self._relation(found.comparisons["original"]).capitalize()
            return f"{words} the originals; no baseline matches them in {nouns}{self._data()}."
        if all(one.outcome == "better" for one in on):
            headline = f"Better than every baseline {' and '.join(map(_where, on))}"
        elif len({(one.outcome, one.comparison.reference) for one in on}) == 1:
            nouns = " and ".join(AXES[one.axis].noun for one in on)
            baseline = short_phrase_of(on[0].comparison.reference)
            relation = RELATIONS[on[0].outcome].capitalize()
            headline = f"{relation} {baseline} at matched {nouns}"
        else:
            headline = "; ".join(
                f"{RELATIONS[one.outcome]} {short_phrase_of(one.comparison.reference)} "
                f"{_where(one)}"
                for one in on
            )
            headline = headline[0].upper() + headline[1:]
        if found.is_collapsed:
            headline += f", with {self._generated.dispersion:.2f} of the originals' dispersion"
        return f"{headline}{self._data()}."

    def _data(self) -> str:
        """End the headline if the generator used more data than the baselines."""
        used = self._generated.data_used
        if used == "none":
            return ""
        words = f", using training {used}"
        found = self._findings
        strongest = min(found.data_matched, key=found.order, default=None)
        if strongest is None:
            return words
        baseline = short_phrase_of(strongest.reference)
        return f"{words}; {self._relation(strongest)} {baseline} with as many"

    def _of_axis(self, name: AxisName) -> str:
        noun, on = AXES[name].noun, self._findings.on.get(name)
        if on is None and self._findings.axes[name].at is None:
            return f"No {noun} can be measured, so no baseline can be matched to it."
        if on is None:
            return (
                f"No baseline matches the generated networks in {noun}, so none is compared there."
            )
        reference = on.comparison.reference
        score = self._score.text(self._groups[reference].score.mean)
        own = self._score.text(self._generated.score.mean)
        strongest = "the strongest baseline is" if on.is_strongest else "there is also"
        return (
            f"At matched {noun}, {strongest} {phrase_of(reference)} with {score}: the generated "
            f"networks, with {own}, are {RELATIONS[on.outcome]} that "
            f"({self._points(on.comparison)})."
            f"{self._needed(on.comparison) if on.outcome == 'undecided' else ''}"
        )

    def _needed(self, comparison: Comparison) -> str:
        """Estimate the sizes that would decide."""
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

    def _with_data(self) -> list[str]:
        """Compare with data-matched baselines, if the generator learned from training data."""
        if self._generated.data_used == "none":
            return []
        words = f"The generator used {self._generated.data.in_words}, the baselines none"
        if any(group.finish for group in self._groups.values()):
            words += " but unlabeled inputs for BatchNorm statistics"
        data_matched = self._findings.data_matched
        if not data_matched:
            return [f"{words}; nothing that saw as many could be compared with it."]
        clauses = " and ".join(self._clause(one) for one in data_matched)
        return [f"{words}. Of the data-matched baselines, it is {clauses}."]

    def _last_step(self) -> list[str]:
        """State the value of re-estimated BatchNorm statistics alone."""
        names = ("generated+bn", "original+bn")
        if not all(name in self._groups for name in names):
            return []
        own, original = (self._score.text(self._groups[name].score.mean) for name in names)
        return [
            f"With BatchNorm statistics re-estimated, as those of baselines are, the generated "
            f"networks reach {own} and the originals {original}."
        ]

    def _with_labels(self) -> list[str]:
        """Compare the best networks on validation data, for users who want one good network."""
        soup, best = self._groups.get("greedy_soup"), self._findings.best_of_n
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

    def _copies(self) -> list[str]:
        generated = self._generated
        if not generated.copies:
            return []
        count = round(generated.copies * generated.n)
        return [
            f"{count} of {generated.n} generated networks lie so near to an original that they "
            "are copies of it."
        ]

    def _overlap(self) -> list[str]:
        """Compare the similarity to the nearest original."""
        groups = self._groups
        original, generated = (groups[name].max_similarity for name in ("original", "generated"))
        if generated is None or original is None:
            return []
        held_out = groups["held_out"].max_similarity if "held_out" in groups else None
        fresh = "" if held_out is None else f", a held-out network's by {held_out.mean:.2f}"
        return [
            f"The errors of a generated network overlap by {generated.mean:.2f} with those of its "
            f"nearest original; an original's by {original.mean:.2f} with its nearest other "
            f"original{fresh} (1 is identical)."
        ]

    def _copying_test(self) -> list[str]:
        """State the result of the data-copying test, or the distances without a test."""
        test, lowest = self._generated.z_u, self._findings.lowest_z
        sentences = [] if test is not None else self._distances()
        if not self._score.has_errors:
            sentences.append(
                "Novelty in behavior is not measured: this task calls nothing right or wrong, so "
                "no two networks can be wrong alike. Distances and spread of the parameters are."
            )
        if test is not None and lowest is not None:
            outcome = (
                "nearer to the originals than networks of held-out training runs do, as copies "
                "and averages would"
                if lowest < COPYING
                else "no nearer to the originals than networks of held-out training runs do, as "
                "far as a test can tell"
            )
            sentences.append(
                f"Generated networks lie {outcome} (data-copying test against "
                f"{test.n_held_out} runs, Z = {lowest:.1f})."
            )
        return sentences

    def _distances(self) -> list[str]:
        """State distances and copies, if there are too few held-out runs for a test."""
        distances = {
            name: self._groups[name].min_distance
            for name in ("generated", "original", "held_out")
            if name in self._groups
        }
        own, original = distances["generated"], distances["original"]
        if own is None or original is None:
            return []
        fresh = distances.get("held_out")
        beside = "" if fresh is None else f", a held-out network {plain(fresh.mean, 3)}"
        copies = self._generated.copies
        share = "" if copies is None else f"; {100 * copies:.0f}% are copies of one"
        return [
            f"A generated network lies {plain(own.mean, 3)} from its nearest original in the "
            f"space of parameters, an original {plain(original.mean, 3)} from its nearest other "
            f"original{beside}{share}. These are descriptions: a test of copying needs at least "
            f"{FEWEST_COMPARED} held-out training runs."
        ]

    def _relation(self, comparison: Comparison) -> str:
        """Complete "the generated networks are ..."."""
        return RELATIONS[self._findings.outcomes[comparison.reference]]

    def _clause(self, comparison: Comparison) -> str:
        return (
            f"{self._relation(comparison)} {phrase_of(comparison.reference)} "
            f"({self._points(comparison)})"
        )

    def _level(self, value: float, interval: tuple[float, float]) -> str:
        """Format a score with its interval."""
        low, high = (self._score.number(bound, 1) for bound in interval)
        return f"{self._score.text(value, 1)} [{low} to {high}]"

    def _points(self, comparison: Comparison) -> str:
        """Format a difference with its interval."""
        score = self._score
        low, high = (score.difference(bound) for bound in comparison.ci95)
        return (
            f"{score.difference(comparison.difference)} {score.of_difference}, "
            f"95% interval {low} to {high}"
        )
