"""Groups in ``evaluation.json``: the networks of one method, with their metrics by name."""

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from paramdiff.evaluation.metrics.registry import METRICS
from paramdiff.methods.data_use import DataUse
from paramdiff.settings import Settings

if TYPE_CHECKING:
    from paramdiff.evaluation.metrics.aligned_distance import Aligned
    from paramdiff.evaluation.metrics.memorization import DataCopying
    from paramdiff.evaluation.metrics.nearest_neighbors import Distance
    from paramdiff.evaluation.metrics.score import GroupScore
    from paramdiff.evaluation.metrics.similarity import Summary


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
    """The networks of one method: what they used, and beside it every metric by its name.

    Metrics are validated by their entries in ``METRICS``; one that is not there is null.
    """

    model_config = ConfigDict(extra="allow")

    method: str = Field("", description="its name in the registry of methods")
    label: str = Field("", description="of the group, in tables and figures")
    phrase: str = Field("", description="for the group, in a sentence")
    reference: str | None = Field(None, description="of the method: paper and equation")
    n: int = Field(description="networks")
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

    if TYPE_CHECKING:  # metrics that this package reads
        score: GroupScore
        max_similarity: Summary | None
        max_similarity_with_source: Summary | None
        pairwise_similarity: float | None
        min_distance: Distance | None
        nearest_ratio: float | None
        copies: float | None
        dispersion: float | None
        dispersion_per_tensor: dict[str, float | None] | None
        dispersion_in_components: tuple[float, ...] | None
        effective_rank_ratio: float | None
        z_u: DataCopying | None
        aligned: Aligned | None

    @model_validator(mode="before")
    @classmethod
    def _validate_metrics(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        unknown = content.keys() - METRICS.keys() - cls.model_fields.keys()
        if unknown:
            raise ValueError(
                f"{min(unknown)} is no registered metric; import the module that registers it"
            )
        return content | {
            name: _validated(name, metric.type, content.get(name))
            for name, metric in METRICS.items()
        }

    @property
    def data(self) -> DataUse:
        """The task data that it was made with."""
        return DataUse(self.data_used, self.data_split, self.images_seen)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # in Python 3.10 tuple[float, ...] is a type, too, of which no subclass can be asked
    is_class = isinstance(kind, type) and get_origin(kind) is None
    is_record = is_class and issubclass(kind, BaseModel)
    return TypeAdapter(kind, config=None if is_record else ConfigDict(allow_inf_nan=False))


def _validated(name: str, kind: Any, value: Any) -> Any:
    """Return the value of a metric as its type, or null."""
    if value is None and name != "score":
        return None
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise ValueError(f"{where}: {first['msg']}") from None
