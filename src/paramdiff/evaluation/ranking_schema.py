"""A ranking in ``evaluation.json``: which method is worth making, for each use of checkpoints."""

from typing import Literal

from pydantic import Field

from paramdiff.evaluation.comparison_schema import EnsembleComparison, Pair
from paramdiff.settings import Settings


class Candidate(Settings):
    """A method that competed, and what it was chosen by."""

    group: str
    value: float = Field(description="on validation data, as ``chosen_by`` says")


class Answer(Settings):
    """The method that serves one use best."""

    winner: str = Field(description="group with the best value on validation data")
    reference: str = Field(description="group that needs nothing made, to compare with")
    chosen_by: str = Field(description="what the candidates' values are, for people")
    candidates: tuple[Candidate, ...] = Field(description="the best first")
    difference: float | None = Field(
        None,
        description="mean score of the winner minus that of the reference on test data; null if "
        "they are the same group",
    )
    ci95: Pair | None = Field(
        None, description="of the difference; null if a few numbers are all that the two have"
    )
    typical: float | None = Field(
        None,
        description="median absolute deviation of the originals' scores, scaled to a standard "
        "deviation; beside a difference without an interval",
    )
    outcome: Literal["better", "worse", "equivalent", "undecided"] = Field(
        description="of the winner beside the reference"
    )
    members: int | None = Field(None, description="networks used together; null for single ones")
    ensembles: EnsembleComparison | None = Field(
        None, description="ensembles of the winner minus those of the reference"
    )
    similarity: Pair | None = Field(
        None, description="similarity within the winner, and within the reference; null without"
    )
    dispersion: Pair | None = Field(None, description="the same of dispersion")
    command: str | None = Field(
        None, description="makes the winner; null if it lies there already"
    )


class Ranking(Settings):
    """The best methods for three uses of checkpoints."""

    single: Answer = Field(description="one network")
    ensemble: Answer | None = Field(
        description="several networks used together; null without class probabilities"
    )
    diverse: Answer | None = Field(
        description="networks as good as the originals and as varied as possible; null if no "
        "method makes several"
    )
    num_raced: int = Field(
        description="networks of every method that the race looked at on validation data"
    )
    num_networks: int = Field(description="networks of the finalists")
    finalists: tuple[str, ...] = Field(description="groups with that many networks")
