"""Optional parts of ``evaluation.json``."""

from pydantic import Field

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.settings import Settings


class OutOfDistribution(Settings):
    """Inputs that belong to no class."""

    description: str
    num_examples: int


class FinetuningCurve(Settings):
    """``n`` evenly spaced networks of a group, trained on from where they are."""

    n: int
    learning_rate: float = Field(
        description="of the normalized parameters; lowest validation loss"
    )
    score: tuple[float, ...] = Field(description="mean test score after ``updates``")
    std: tuple[float, ...] = Field(description="of that over the networks")


class FinetuningCurves(Settings):
    """Scores of each group after a few updates on the same labeled batches."""

    updates: tuple[int, ...]
    batch_size: int
    groups: dict[str, FinetuningCurve]


class ControllabilityLevel(Settings):
    """Networks generated for one value of a condition."""

    requested: float
    validation: float = Field(description="mean validation score")
    score: float = Field(description="mean test score")
    std: float = Field(description="of the test scores")
    dispersion: float | None


class Controllability(Settings):
    """Scores at requested values of a numeric condition, in the zoo's range and beyond."""

    n: int = Field(description="networks at each value")
    low: float = Field(description="the zoo's range")
    high: float
    guidance_scale: float
    rank_correlation: float | None = Field(
        description="Spearman's, between requested values and test scores; null for constants"
    )
    levels: tuple[ControllabilityLevel, ...]


class Recalibration(Settings):
    """Accuracy of ``n`` evenly spaced networks with BatchNorm statistics estimated anew."""

    n: int
    before: float
    after: float
    difference: float
    ci95: Pair
