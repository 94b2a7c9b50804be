"""``evaluation.json``: every number that the report shows; other programs may rely on the names.

A score is the task's own, which ``score_info`` names; accuracies and similarities are fractions.
Beside it lies ``arrays.safetensors`` with what the figures draw (see ``ARRAYS`` below). The report
is a pure function of the two.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from paramdiff.evaluation.comparison_schema import (
    BestOfN,
    Comparison,
    EnsembleComparison,
    EnsembleScore,
    Frontier,
)
from paramdiff.evaluation.further_schema import (
    Controllability,
    FinetuningCurves,
    OutOfDistribution,
    Recalibration,
)
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.ranking_schema import Ranking
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.evaluation.trajectory import Trajectory
from paramdiff.settings import Settings

EVALUATION_FILE = "evaluation.json"
ARRAYS_FILE = "arrays.safetensors"

ARRAYS = {
    "truth": "[E] the test examples' true labels, in classification",
    "labels/GROUP": "[M, E] predicted labels of a group's parameter sets, in classification",
    "score/GROUP": "[M] test score of every parameter set",
    "validation/GROUP": "[M] validation score of every parameter set",
    "max_similarity/GROUP": "[M] highest IoU of what is wrong to an original, where anything is",
    "similarity": "[R, R] IoU among the first originals, then the first generated",
    "similarity_num_original": "[1] how many rows of `similarity` are originals",
    "parameters/generated": "[4, 64] normalized values of four generated networks",
    "parameters/nearest": "[4, 64] the same coordinates of each one's nearest original",
    "reliability/GROUP": "[2, bins] mean confidence and accuracy of the largest ensemble, by bin",
    "losses/codec": "[steps] training loss",
    "losses/denoiser": "[steps] training loss",
    "trajectory/timestep": "[S] diffusion timesteps, from noise (first) to 0 (last)",
    "trajectory/score": "[seeds, S] test score of the decoded states of the reverse process",
    "parameter_traces/training": "[S, C] raw values of originals, from first to last saved",
    "parameter_traces/reverse": "[S, C] the same, of the states of one reverse process",
    "parameter_traces/num_weights": "[1] how many of the C, from the first, are weights",
}


class Reconstruction(Settings):
    """Originals encoded and decoded, with nothing generated."""

    similarity_with_source: float | None = Field(
        description="mean IoU with the original it came from; null where nothing is wrong"
    )
    dispersion: float | None
    score_difference: float = Field(description="mean score minus the originals' mean")


class AxisOutcome(Settings):
    """The generated networks beside the baseline that decides on one axis."""

    reference: str = Field(description="the baseline")
    outcome: Literal["better", "worse", "equivalent", "undecided"] = Field(
        description="of the generated networks"
    )


class Verdict(Settings):
    """The conclusion, as data and in words."""

    headline: str
    outcomes: dict[Literal["max_similarity", "pairwise_similarity", "dispersion"], AxisOutcome] = (
        Field({}, description="on the deciding axes on which a baseline competes")
    )
    reference: str | None = Field(
        None,
        description="the baseline that decided: of those on the deciding axes the one beside "
        "which the generated networks do worst; null where there is none",
    )
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


class Cost(Settings):
    """Cost of a stage."""

    seconds: float
    peak_memory_mb: float


class Evaluation(Settings):
    """The whole of ``evaluation.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[3] = Field(3, alias="schema")
    title: str = Field(description="what was run, for the report's heading")
    facts: dict[str, str] = Field(description="what was run: label to value, in reading order")
    score_info: ScoreInfo = Field(ScoreInfo(), description="what every field called score holds")
    num_test: int
    num_validation: int
    hold_out: Literal["run", "tail", "spaced", "none"] = Field(
        description="held-out checkpoints are whole runs, the tail of one whose others are "
        "originals, evenly spaced among the others, or absent"
    )
    is_held_out_new: bool = Field(
        False, description="whether it is known that none of them trained the generator"
    )
    single_trajectory: bool
    trajectory: Trajectory | None = Field(description="null for fewer than 8 originals")
    groups: dict[str, Group]
    comparisons: tuple[Comparison, ...]
    frontier: dict[Literal["max_similarity", "pairwise_similarity", "dispersion"], Frontier]
    best_of_n: dict[str, BestOfN] = Field(description="group name to its best of equally many")
    ensembles: dict[str, tuple[EnsembleScore, ...]] = Field(
        description="group name to its ensembles of 1, 2, 5, 10, 30; empty without probabilities"
    )
    ensemble_comparisons: tuple[EnsembleComparison, ...]
    ood: OutOfDistribution | None
    recalibration: dict[str, Recalibration] = Field(description="empty where it was not asked for")
    finetuning_curves: FinetuningCurves | None = Field(
        None, description="null unless a recipe asks for it"
    )
    reconstruction: Reconstruction | None
    controllability: dict[str, Controllability] = Field(
        {}, description="by numeric condition; empty for a pipeline without"
    )
    verdict: Verdict
    ranking: Ranking | None = Field(
        None, description="of all methods; null beside generated networks"
    )
    cost: dict[str, Cost]

    @property
    def minus_original(self) -> Comparison | None:
        """The generated networks beside the originals."""
        pairs = {(one.group, one.reference): one for one in self.comparisons}
        return pairs.get(("generated", "original"))
