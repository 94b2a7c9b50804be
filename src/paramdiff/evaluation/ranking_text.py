"""The sentences of a ranking, and its headline."""

from collections.abc import Mapping

from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.outcome import RELATIONS
from paramdiff.evaluation.ranking import LAST
from paramdiff.evaluation.ranking_schema import Answer, Ranking
from paramdiff.evaluation.schema import Verdict
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.group_names import is_finished, method_of, phrase_of, short_phrase_of


def write_ranking(ranking: Ranking, groups: Mapping[str, Group], score: ScoreInfo) -> Verdict:
    """Put a ranking into words.

    Args:
        ranking: winners and their comparisons.
        groups: every group's numbers.
        score: the task's.

    Returns:
        A headline, and a sentence for each use.
    """
    writer = _Writer(ranking, groups, score)
    return Verdict(headline=writer.headline(), sentences=tuple(writer.sentences()), warnings=())


class _Writer:
    """Writes the sentences of one ranking."""

    def __init__(self, ranking: Ranking, groups: Mapping[str, Group], score: ScoreInfo) -> None:
        self._ranking, self._groups, self._score = ranking, groups, score
        self._data = "the reported examples" if score.selects_on_test else "test data"

    def headline(self) -> str:
        """Name what is worth making, if anything is."""
        ranking = self._ranking
        uses = {
            "as one network": ranking.single,
            "as an ensemble": ranking.ensemble,
        }
        won = [
            f"{self._phrase(one.winner, is_short=True)} {use}"
            for use, one in uses.items()
            if one is not None and one.outcome == "better"
        ]
        reference = self._phrase(ranking.single.reference)
        if won:
            found = f"Worth having: {'; '.join(won)}"
            if ranking.single.outcome != "better":
                found += f". As one network, nothing is shown to be better than {reference}"
            return f"{found}."
        together = " and ensembles of the originals" if ranking.ensemble is not None else ""
        return f"Nothing here is shown to be worth more than {reference}{together}."

    def sentences(self) -> list[str]:
        """One sentence for each use."""
        ranking = self._ranking
        found = [self._single(ranking.single)]
        if ranking.ensemble is not None:
            found.append(self._ensemble(ranking.ensemble))
        if ranking.diverse is not None:
            found.append(self._diverse(ranking.diverse))
        return found

    def _single(self, answer: Answer) -> str:
        level = self._score.text(self._groups[answer.reference].score.mean)
        if answer.winner == answer.reference:
            return (
                f"One network: of {len(answer.candidates)} candidates, "
                f"{self._phrase(answer.reference)} has the best {answer.chosen_by}. On "
                f"{self._data} it has {level}."
            )
        own = self._score.text(self._groups[answer.winner].score.mean)
        return (
            f"One network: of {len(answer.candidates)} candidates, {self._phrase(answer.winner)} "
            f"has the best {answer.chosen_by}. With {own} on {self._data} it is "
            f"{RELATIONS[answer.outcome]} {self._phrase(answer.reference)} with {level} "
            f"({self._difference(answer)})."
        )

    def _ensemble(self, answer: Answer) -> str:
        pair = answer.ensembles
        if pair is None:
            return (
                f"Used together: {answer.members} of the originals have the lowest "
                f"{answer.chosen_by}."
            )
        nll = pair.nll if pair.nll_calibrated is None else pair.nll_calibrated
        interval = pair.nll_calibrated_ci95 or pair.nll_ci95
        low, high = (f"{100 * bound:+.2f}" for bound in pair.accuracy_ci95)
        return (
            f"Used together: {self._phrase(answer.winner)} have the lowest {answer.chosen_by}. "
            f"On {self._data}, ensembles of {answer.members} are {RELATIONS[answer.outcome]} "
            f"as many originals in log-likelihood: {nll:+.4f} nats "
            f"[{interval[0]:+.4f} to {interval[1]:+.4f}], and {100 * pair.accuracy:+.2f} points "
            f"[{low} to {high}] in accuracy."
        )

    def _diverse(self, answer: Answer) -> str:
        if answer.winner == answer.reference:
            return (
                f"Many networks: no method that matches the originals' mean {self._chosen_on()} "
                "makes more varied ones."
            )
        if answer.similarity is not None:
            own, other = answer.similarity
            varied = f"their errors overlap by {own:.2f}, those of originals by {other:.2f}"
        elif answer.dispersion is not None:
            own, other = answer.dispersion
            varied = f"their parameters are dispersed {own / other:.2f} times as widely"
        else:
            varied = "how varied they are cannot be measured"
        level = self._score.text(self._groups[answer.winner].score.mean)
        return (
            f"Many networks: the most varied of those that match the originals' mean "
            f"{self._chosen_on()} are {self._phrase(answer.winner)}. With {level} on {self._data} "
            f"they are {RELATIONS[answer.outcome]} the originals ({self._difference(answer)}); "
            f"{varied}."
        )

    def _phrase(self, name: str, *, is_short: bool = False) -> str:
        """The phrase of a group; of several runs there are several last checkpoints."""
        if method_of(name).name == LAST and self._groups[name].n > 1:
            bn = " with re-estimated BatchNorm statistics" if is_finished(name) else ""
            return f"the last checkpoints of the runs{bn}"
        return short_phrase_of(name) if is_short else phrase_of(name)

    def _chosen_on(self) -> str:
        return "on the same examples" if self._score.selects_on_test else "on validation data"

    def _difference(self, answer: Answer) -> str:
        score = self._score
        assert answer.difference is not None
        words = f"{score.difference(answer.difference)} {score.of_difference}"
        if answer.ci95 is not None:
            low, high = (score.difference(bound) for bound in answer.ci95)
            return f"{words}, 95% interval {low} to {high}"
        typical = score.deviation(answer.typical or 0.0)
        beside = f"originals typically differ by {typical}"
        return f"{words}; no interval, as one score per network gives none; {beside}"
