"""The winners of a ranking: the commands that make them, and the best network itself."""

import shlex
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from paramdiff.checkpoints.sources import FoundCheckpoints
from paramdiff.commands.maker import Maker
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.ranking_schema import Answer, Ranking
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import is_finished, method_of
from paramdiff.storage import copy

USES = {"single": "best", "ensemble": "together", "diverse": "varied"}
"""Every use, and the folder that its command writes."""


@dataclass(frozen=True)
class MakeCommand:
    """A ``make`` command that repeats the options of a comparison.

    Attributes:
        checkpoints: the originals, as they were named.
        choice: option to value, which is True for a flag; None for one that was not given.
        patterns: of tensors.
        settings: of the comparison.
        given: groups that lie there already.
    """

    checkpoints: str
    choice: Mapping[str, object]
    patterns: tuple[str, ...]
    settings: EvaluationSettings
    given: Container[str]

    def of(self, name: str, out: str, *, is_single: bool, has_statistics: bool) -> str | None:
        """Write the command that makes a group; None if its networks lie there already."""
        if name in self.given or method_of(name).sample is None:
            return None
        words = ["paramdiff", "make", name, self.checkpoints]
        for option, value in self.choice.items():
            if value is not None:
                words += [option] if value is True else [option, str(value)]
        for pattern in self.patterns:
            words += ["--select", pattern]
        words += [] if is_single else ["--num-samples", str(self.settings.num_compared)]
        if has_statistics and not is_finished(name) and method_of(name).finish:
            words.append("--keep-batchnorm")
        words += ["--seed", str(self.settings.seed)] if self.settings.seed else []
        return shlex.join([*words, "--out", out])


def with_commands(evaluation: Evaluation, command: MakeCommand) -> Evaluation:
    """Add to every answer of a ranking the command that makes its winner.

    Args:
        evaluation: with a ranking.
        command: repeats the options of the comparison.

    Returns:
        The evaluation with commands.
    """
    ranking, groups = evaluation.ranking, evaluation.groups
    assert ranking is not None
    has_statistics = any(is_finished(name) for name in groups)

    def completed(answer: Answer | None, out: str) -> Answer | None:
        if answer is None:
            return None
        line = command.of(
            answer.winner,
            out,
            is_single=groups[answer.winner].n == 1,
            has_statistics=has_statistics,
        )
        return answer.model_copy(update={"command": line})

    update = {name: completed(getattr(ranking, name), out) for name, out in USES.items()}
    return evaluation.model_copy(update={"ranking": ranking.model_copy(update=update)})


def write_winner(
    folder: Path, ranking: Ranking, maker: Maker, given: Mapping[str, FoundCheckpoints]
) -> None:
    """Write the best single network.

    Args:
        folder: a new one.
        ranking: of all methods.
        maker: makes it from the originals.
        given: groups that lie there already; a winner of these is copied.
    """
    winner = ranking.single.winner
    if winner in given:
        (stored,) = given[winner].listed
        folder.mkdir()
        copy(stored.path, folder / stored.path.name)
        return
    maker.write(folder, winner, 1, keeps_batchnorm=not is_finished(winner))
