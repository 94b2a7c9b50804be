"""The best method for each use of checkpoints: one network, an ensemble, many varied ones.

For each use, validation data choose the winner among all methods, and test data compare it once
with what needs nothing made: the last checkpoint, or the originals themselves.
"""

from collections.abc import Callable, Mapping, Sequence

from scipy.stats import median_abs_deviation

from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.comparison import compare
from paramdiff.evaluation.ensembles import Ensembles, compare_pair
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.evaluation.outcome import Outcome, outcome
from paramdiff.evaluation.race import NUM_RACED, Race, Runner, varied
from paramdiff.evaluation.ranking_schema import Answer, Candidate, Ranking
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.group_names import FINISHED, is_finished
from paramdiff.methods.single_checkpoints import LAST_CHECKPOINT

LAST, ORIGINAL = LAST_CHECKPOINT.name, "original"
MORE_VARIED = 0.01
"""Similarity or dispersion by which networks have to differ from the originals to count as more
varied."""
FEWEST_NETWORKS = 6
"""Networks of either group from which their draw gives an interval, if examples give none."""
TYPICAL_DIFFERENCE = 2.0
"""Typical deviations of the originals' scores from which a difference of two single numbers
counts."""


def rank(
    race: Race,
    measured: GroupMetrics,
    groups: Mapping[str, Group],
    ensembles: Mapping[str, Ensembles],
    score: ScoreInfo,
) -> Ranking:
    """Choose a winner for each use and compare it on test data.

    Args:
        race: run already.
        measured: every group that was evaluated.
        groups: their records.
        ensembles: of groups with class probabilities.
        score: the task's.

    Returns:
        The ranking.
    """
    judge = _Judge(race, measured, groups, ensembles, score)
    return Ranking(
        single=judge.single(),
        ensemble=judge.ensemble(),
        diverse=judge.diverse(),
        num_raced=NUM_RACED,
        num_networks=max((groups[name].n for name in race.finalists), default=1),
        finalists=race.finalists,
    )


class _Judge:
    """Answers for the three uses."""

    def __init__(
        self,
        race: Race,
        measured: GroupMetrics,
        groups: Mapping[str, Group],
        ensembles: Mapping[str, Ensembles],
        score: ScoreInfo,
    ) -> None:
        self._race, self._measured, self._groups = race, measured, groups
        self._ensembles, self._score = ensembles, score
        self._split = "on the reported examples" if score.selects_on_test else "on validation data"
        runners = [one for one in race.runners.values() if one.name in groups]
        self._runners = [one for one in runners if not one.matched.member.method.is_control]

    def single(self) -> Answer:
        """Choose one network."""
        single = [one for one in self._runners if one.num_made == 1]
        ordered = self._in_order(single, lambda one: -one.standing.score)
        reference = LAST if LAST in self._groups else ORIGINAL
        winner = ordered[0].name if ordered else reference
        reference = self._alike(reference, winner)
        return self._answer(
            winner,
            reference,
            f"{self._score.name} {self._split}",
            ordered,
            lambda one: one.standing.score,
        )

    def ensemble(self) -> Answer | None:
        """Choose networks to use together, as many of each method."""
        runners = [one for one in self._runners if one.ensemble is not None and one.num_made > 1]
        runners = [one for one in runners if one.name in self._ensembles]
        own = self._race.originals
        if ORIGINAL not in self._ensembles or own.ensemble is None:
            return None
        ordered = self._in_order([own, *runners], lambda one: one.ensemble or 0.0)
        winner = ordered[0].name
        reference = self._alike(ORIGINAL, winner)
        if reference not in self._ensembles:
            reference = ORIGINAL
        both = [set(self._ensembles[name].parts) for name in (winner, reference)]
        members = max(size for size in set.intersection(*both) if size <= NUM_RACED)
        found = self._answer(
            winner,
            reference,
            f"negative log-likelihood {self._split}",
            ordered,
            lambda one: one.ensemble or 0.0,
        )
        if winner == reference:
            return found.model_copy(update={"members": members})
        pair = compare_pair(self._ensembles, winner, reference, members, self._bootstrap)
        interval = pair.nll_calibrated_ci95 or pair.nll_ci95
        decided: Outcome = "undecided"
        if interval[1] < 0:
            decided = "better"
        elif interval[0] > 0:
            decided = "worse"
        return found.model_copy(update={"members": members, "ensembles": pair, "outcome": decided})

    def diverse(self) -> Answer | None:
        """Choose networks as good as the originals on average, and as varied as possible."""
        own = self._race.originals
        level = own.standing.score - self._race.tolerance
        several = [one for one in self._runners if one.num_made > 1]
        good = [one for one in several if one.standing.score >= level]
        if own.num_made < 2 or not several:
            return None
        ordered = self._in_order([own, *good], varied)
        best = ordered[0]
        is_more = best.name != ORIGINAL and varied(best) < varied(own) - MORE_VARIED
        winner = best.name if is_more else ORIGINAL
        reference = self._alike(ORIGINAL, winner)
        measure = f"similarity within {self._split}"
        if own.standing.pairwise_similarity is None:
            measure = "dispersion"
        found = self._answer(
            winner,
            reference,
            measure,
            ordered,
            lambda one: abs(varied(one)),
        )
        groups = self._groups[winner], self._groups[reference]
        within = [one.pairwise_similarity for one in groups]
        spread = [one.dispersion for one in groups]
        return found.model_copy(
            update={
                "similarity": None if None in within else tuple(within),
                "dispersion": None if None in spread else tuple(spread),
            }
        )

    @property
    def _bootstrap(self) -> Bootstrap:
        return self._measured.bootstrap

    def _alike(self, reference: str, winner: str) -> str:
        """Return the reference after the winner's last step, which is then no part of its lead."""
        finished = reference + FINISHED
        return finished if is_finished(winner) and finished in self._groups else reference

    def _in_order(self, runners: Sequence[Runner], key: Callable[[Runner], float]) -> list[Runner]:
        """Sort, the best first; of equals the one that needs nothing made comes first."""
        return sorted(runners, key=lambda one: (key(one), one.name not in (LAST, ORIGINAL)))

    def _answer(
        self,
        winner: str,
        reference: str,
        chosen_by: str,
        ordered: Sequence[Runner],
        value: Callable[[Runner], float],
    ) -> Answer:
        found: dict[str, object] = {
            "winner": winner,
            "reference": reference,
            "chosen_by": chosen_by,
            "candidates": [Candidate(group=one.name, value=value(one)) for one in ordered],
            "outcome": "equivalent",
        }
        if winner == reference:
            return Answer.model_validate(found)
        difference = compare(self._measured, winner, reference)
        level = self._groups[ORIGINAL].score.mean
        found["difference"] = difference.difference
        both = (self._groups[name].n for name in (winner, reference))
        if self._score.is_per_example or min(both) >= FEWEST_NETWORKS:
            found |= {
                "ci95": difference.ci95,
                "outcome": outcome(difference, self._score, level),
            }
        else:
            found |= self._without_interval(difference.difference)
        return Answer.model_validate(found)

    def _without_interval(self, difference: float) -> dict[str, object]:
        """Judge two single numbers by how much the originals' scores differ among themselves."""
        scores = self._measured.scores(ORIGINAL)
        # robust, as the first checkpoints of a run may be far off
        typical = float(median_abs_deviation(scores.numpy(), scale="normal"))
        decided: Outcome = "undecided"
        if abs(difference) > TYPICAL_DIFFERENCE * typical:
            decided = "better" if difference > 0 else "worse"
        return {"typical": typical, "outcome": decided}
