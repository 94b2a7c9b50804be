"""``evaluation.json``: every number that the report shows; other programs may rely on the names.

A score is the task's own, which ``score_info`` names; accuracies and similarities are fractions.
Beside it lies ``arrays.safetensors`` with what the figures draw (see ``ARRAYS`` below). The report
is a pure function of the two.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from paramdiff.evaluation.further_schema import Controllability, FinetuningCurves
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.data_use import DataUse
from paramdiff.settings import Settings

SIGNIFICANT = 0.01
"""The p-value from which the originals count as one trajectory."""

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

Pair = tuple[float, float]


class GroupScore(Settings):
    """The score over the networks of a group: accuracy, or what ``score_info`` names.

    ``ci95`` covers test examples and networks, or networks alone where examples have no score of
    their own.
    """

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
    """L2 distance to the nearest original, in the space normalized per tensor."""

    mean: float
    min: float
    max: float


class Aligned(Settings):
    """The same with units in any order, for ``n`` evenly spaced networks; upper bounds."""

    n: int
    min_distance: Distance
    copies: float | None


class DataCopying(Settings):
    """``Z_U`` of Meehan et al. (2020) against held-out runs; far below 0 means copying."""

    n: int = Field(description="networks of the group")
    n_held_out: int
    behavior: float | None = Field(
        description="distance is 1 - IoU of wrong predictions; null where nothing is wrong"
    )
    parameters: float | None = Field(
        description="L2 distance, of the group as it is or rescaled to dispersion 1, whichever is "
        "nearer to 0; null without spread"
    )


class Standing(Settings):
    """The means of a group's networks on validation data.

    A baseline's are those of other networks made the same way, so that neither the strength at
    which it is matched nor the choice of the baseline that decides depends on what is reported.
    """

    n: int
    score: float
    max_similarity: float | None = Field(
        description="to the nearest original, the own source included; null without errors"
    )
    pairwise_similarity: float | None = Field(description="within the group")
    dispersion: float | None


class SeedGroup(Settings):
    """The networks of one generator seed."""

    n: int
    score: float
    dispersion: float | None
    pairwise_similarity: float | None


class Group(Settings):
    """One way to make parameter sets, and how good and how new they are."""

    n: int
    score: GroupScore
    max_similarity: Summary | None = Field(description="to an original; the own source excluded")
    max_similarity_with_source: Summary | None = Field(
        description="the published habit: a noised checkpoint's own source counts"
    )
    pairwise_similarity: float | None = Field(
        description="mean IoU within the group; null for n=1"
    )
    min_distance: Distance | None
    nearest_ratio: float | None = Field(
        description="mean of nearest over second-nearest distance to an original; 0 for copies"
    )
    copies: float | None = Field(
        description="share that is nearer to an original than half the originals' median distance "
        "to their own nearest neighbor"
    )
    dispersion: float | None = Field(description="spread relative to the originals'; null for n=1")
    dispersion_per_tensor: dict[str, float | None] | None
    dispersion_in_components: tuple[float, ...] | None = Field(
        description="along the originals' first principal components, largest first"
    )
    effective_rank_ratio: float | None = Field(
        description="directions in which the group varies, over those of equally many originals"
    )
    z_u: DataCopying | None = Field(
        description="null without held-out runs: on one trajectory the rule of holding out decides"
    )
    seeds: dict[str, SeedGroup] | None = Field(
        None, description="by generator seed, where there are several"
    )
    data_used: Literal["none", "inputs", "labels"]
    data_split: Literal["training", "validation"] | None = Field(
        None, description="whose inputs or labels; null where none were used"
    )
    images_seen: int | None = Field(
        None,
        description="training examples, each as often as a network was trained on it; null where "
        "none was",
    )
    matched_to: tuple[Literal["max_similarity", "pairwise_similarity", "dispersion"], ...] = Field(
        (),
        description="what of the generated networks decided the strength of a baseline: its "
        "validation networks are as similar to the originals, as similar to each other, as "
        "dispersed",
    )
    finish: Literal["batchnorm"] | None = Field(
        None,
        description="the last step of the method: BatchNorm statistics re-estimated on unlabeled "
        "training inputs",
    )
    validation: Standing | None = Field(
        None, description="of the generated networks, and of baselines that can decide"
    )
    aligned: Aligned | None = Field(
        None, description="null unless the whole network is generated and its structure understood"
    )

    @property
    def data(self) -> DataUse:
        """The task data that it was made with."""
        return DataUse(self.data_used, self.data_split, self.images_seen)


class Needed(Settings):
    """Roughly what would decide a comparison that is not decided.

    It would show a difference of the size found, or that it lies within the margin of equivalence,
    whichever takes less.
    """

    networks: int | None = Field(
        description="of each group, on the same examples; null if no number of them would do"
    )
    examples: int | None = Field(
        description="of test data, with the same networks; null if no number of them would do"
    )
    factor: float = Field(description="by which both would have to grow together")


class Comparison(Settings):
    """Mean score of ``group`` minus that of ``reference``, paired on the same example draws."""

    group: str
    reference: str
    reference_dispersion: float | None
    difference: float
    ci95: Pair
    needed: Needed | None = Field(None, description="null where the interval decides")


class FrontierPoint(Settings):
    """A baseline that no other one beats at its place on an axis."""

    group: str
    place: float = Field(description="its similarity, or its dispersion")
    score: float


class Frontier(Settings):
    """The best scores of baselines along one axis, and the baseline that decides there."""

    points: tuple[FrontierPoint, ...] = Field(description="from the least to the most alike")
    at: float | None = Field(description="the generated networks' place")
    reference: str | None = Field(
        description="the baseline with the best validation score among those that are at most as "
        "similar, or at least as dispersed, as the generated networks on validation data; null "
        "where there is none"
    )
    unbeaten: tuple[str, ...] = Field(
        (),
        description="those of them that the generated networks are not better than on test data",
    )


class BestOfN(Settings):
    """The best of ``n`` parameter sets on validation data, scored once on test data."""

    n: int
    validation_score: float
    test_score: float
    ci95: Pair = Field(
        description="of the test score: networks, validation and test examples are drawn anew, "
        "and the choice is repeated"
    )
    num_tied: int = Field(
        description="networks with the highest validation score; one of them is drawn"
    )


class EnsembleScore(Settings):
    """Mean class probabilities of ``members`` networks: averages over disjoint ensembles.

    Intervals cover examples, and ensembles where there are several.
    """

    members: int
    num_ensembles: int
    accuracy: float
    accuracy_ci95: Pair
    nll: float = Field(description="negative log-likelihood in nats")
    nll_ci95: Pair
    ece: float = Field(description="expected calibration error, 15 bins")
    brier: float = Field(description="sum over classes of squared errors")
    ood_auroc: float | None = Field(
        description="telling test from out-of-distribution inputs by the largest probability"
    )
    ood_auroc_ci95: Pair | None = None
    temperature: float | None = Field(
        None,
        description="of the lowest NLL on validation data, one per ensemble: their mean; null "
        "where no data are set apart to choose it",
    )
    nll_calibrated: float | None = Field(None, description="NLL at that temperature")
    nll_calibrated_ci95: Pair | None = None
    ece_calibrated: float | None = Field(None, description="ECE at that temperature")


class EnsembleComparison(Settings):
    """Ensembles of generated networks minus those of ``reference``, paired on examples.

    Intervals cover examples, and ensembles where there are several.
    """

    members: int
    reference: str
    accuracy: float
    accuracy_ci95: Pair
    nll: float
    nll_ci95: Pair
    nll_calibrated: float | None = Field(None, description="each at its own temperature")
    nll_calibrated_ci95: Pair | None = None
    ood_auroc: float | None = None
    ood_auroc_ci95: Pair | None = None


class OutOfDistribution(Settings):
    """Inputs that belong to no class."""

    description: str
    num_examples: int


class Recalibration(Settings):
    """Accuracy of ``n`` evenly spaced networks with BatchNorm statistics estimated anew."""

    n: int
    before: float
    after: float
    difference: float
    ci95: Pair


class Trajectory(Settings):
    """How the order of the originals shows in their distances."""

    step_ratio: float = Field(
        description="mean distance of successive originals of a run over that of any two of it; "
        "about 1 for independent networks"
    )
    p_value: float = Field(
        description="share of random orders (within runs) with successive distances as short"
    )
    num_runs: int = Field(1, description="training runs, as far as folders and names tell")
    between_runs: float | None = Field(
        None,
        description="mean distance of originals of different runs over that of two of one; null "
        "for one run",
    )
    num_unrelated: int = Field(
        1,
        description="groups of originals that share hardly a value, as those of independent runs "
        "do, whatever folders and names tell",
    )

    @property
    def is_ordered(self) -> bool:
        """Whether successive originals are nearer to each other than chance allows."""
        return self.p_value <= SIGNIFICANT

    @property
    def is_found(self) -> bool:
        """Whether all of them lie along one run."""
        return self.is_ordered and self.num_runs == 1 and self.num_unrelated == 1


class Reconstruction(Settings):
    """What the codec alone makes of the originals."""

    similarity_with_source: float | None = Field(
        description="mean IoU with the original it came from; null where nothing is wrong"
    )
    dispersion: float | None
    score_difference: float = Field(description="mean score minus the originals' mean")


class Verdict(Settings):
    """What follows, in words."""

    headline: str
    reference: str | None = Field(
        None,
        description="the baseline that decided: of those on the deciding axes the one beside "
        "which the generated networks do worst; null where there is none",
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
        None, description="null where it was not asked for"
    )
    reconstruction: Reconstruction | None
    controllability: dict[str, Controllability] = Field(
        {}, description="by numeric condition; empty for a pipeline without"
    )
    verdict: Verdict
    cost: dict[str, Cost]

    @property
    def minus_original(self) -> Comparison | None:
        """The generated networks beside the originals."""
        pairs = {(one.group, one.reference): one for one in self.comparisons}
        return pairs.get(("generated", "original"))
