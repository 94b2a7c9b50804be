"""What the paper and the authors' logs report for one recipe; null where they report nothing."""

from pydantic import Field

from paramdiff.evaluation.schema import Pair
from paramdiff.settings import Settings


class PublishedNoise(Settings):
    """The authors' noise baseline of one strength."""

    accuracy: float = Field(description="mean over the noised originals")
    max_similarity: float = Field(description="mean; a network's own source counts")


class Published(Settings):
    """Accuracies and similarities are fractions; ``log_``: of a run that is not the paper's."""

    where: str = Field(description="in the paper")
    original_best: float | None = None
    ensemble: float | None = Field(None, description="the average of all originals")
    generated_best: float | None = None
    original_mean: float | None = None
    generated_mean: float | None = None
    original_similarity_range: Pair | None = Field(None, description="of maximum similarity")
    similarity_range: Pair | None = Field(None, description="the same of the generated networks")
    log_original_mean: float | None = None
    log_generated_mean: float | None = None
    log_original_std: float | None = None
    log_generated_std: float | None = None
    log_original_similarity: float | None = Field(None, description="mean within the originals")
    log_generated_similarity: float | None = Field(None, description="within the generated")
    log_max_similarity: float | None = None
    log_noise: dict[str, PublishedNoise] = Field({}, description="by strength")
    departures: tuple[str, ...] = Field((), description="fields that were not as published here")

    @property
    def minus_original(self) -> float | None:
        """Generated minus original mean, of one run of the authors'."""
        for generated, original in (
            (self.log_generated_mean, self.log_original_mean),
            (self.generated_mean, self.original_mean),
        ):
            if generated is not None and original is not None:
                return generated - original
        return None
