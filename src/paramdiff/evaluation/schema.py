"""``evaluation.json``: every number that the report shows; other programs may rely on the names.

Accuracies and similarities are fractions. Beside it lies ``arrays.safetensors`` with what the
figures draw (see ``ARRAYS`` below). The report is a pure function of the two.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from paramdiff.settings import Settings

EVALUATION_FILE = "evaluation.json"
ARRAYS_FILE = "arrays.safetensors"

ARRAYS = {
    "truth": "[E] the test examples' true labels",
    "labels/GROUP": "[M, E] predicted labels of every parameter set of a group",
    "accuracy/GROUP": "[M] test accuracy of every parameter set",
    "max_similarity/GROUP": "[M] highest IoU of wrong predictions to an original",
    "similarity": "[R, R] IoU among the first originals, then the first generated",
    "similarity_num_original": "[1] how many rows of `similarity` are originals",
    "parameters/generated": "[4, 64] normalised values of four generated networks",
    "parameters/nearest": "[4, 64] the same coordinates of each one's nearest original",
    "losses/codec": "[steps] training loss",
    "losses/denoiser": "[steps] training loss",
    "trajectory/timestep": "[S] diffusion timesteps, from noise (first) to 0 (last)",
    "trajectory/accuracy": "[seeds, S] test accuracy of the decoded states of the reverse process",
}

Pair = tuple[float, float]


class Accuracy(Settings):
    """Accuracy over the parameter sets of a group; ``ci95`` covers examples and networks."""

    mean: float
    std: float
    min: float
    max: float
    median: float
    ci95: Pair


class Summary(Settings):
    """A quantity over the parameter sets of a group."""

    mean: float
    std: float
    min: float
    max: float


class Distance(Settings):
    """L2 distance to the nearest original, in the space normalised per tensor."""

    mean: float
    min: float
    max: float


class Group(Settings):
    """One way to make parameter sets, and how good and how new they are."""

    n: int
    accuracy: Accuracy
    max_similarity: Summary | None = Field(description="to an original; the own source excluded")
    max_similarity_with_source: Summary | None = Field(
        description="the published habit: a noised checkpoint's own source counts"
    )
    pairwise_similarity: float | None = Field(
        description="mean IoU within the group; null for n=1"
    )
    min_distance: Distance | None
    dispersion: float | None = Field(description="spread relative to the originals'; null for n=1")
    data_used: Literal["none", "inputs", "labels"]


class Comparison(Settings):
    """Mean accuracy of ``group`` minus that of ``reference``, paired on the same example draws."""

    group: str
    reference: str
    reference_dispersion: float | None
    difference: float
    ci95: Pair


class BestOfN(Settings):
    """The best of ``n`` parameter sets on validation data, scored once on test data."""

    n: int
    validation_accuracy: float
    test_accuracy: float


class Reconstruction(Settings):
    """What the codec alone makes of the originals."""

    similarity_with_source: float = Field(description="mean IoU with the original it came from")
    dispersion: float | None
    accuracy_difference: float = Field(description="mean accuracy minus the originals' mean")


class Verdict(Settings):
    """What follows, in words."""

    headline: str
    reference: str | None = Field(
        None,
        description="the free alternative that decided: the best that spreads as widely as the "
        "generated networks and is as unlike the originals; null where there is none",
    )
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


class Cost(Settings):
    """What a stage took."""

    seconds: float
    peak_memory_mb: float


class Evaluation(Settings):
    """The whole of ``evaluation.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    title: str = Field(description="what was run, for the report's heading")
    facts: dict[str, str] = Field(description="what was run: label to value, in reading order")
    num_test: int
    num_validation: int
    hold_out: Literal["run", "tail", "none"] = Field(
        description="held-out checkpoints are a separate run, the trajectory's tail, or absent"
    )
    single_trajectory: bool
    groups: dict[str, Group]
    comparisons: tuple[Comparison, ...]
    best_of_n: dict[str, BestOfN] = Field(description="group name to its best of equally many")
    reconstruction: Reconstruction | None
    verdict: Verdict
    cost: dict[str, Cost]
