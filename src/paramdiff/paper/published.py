"""Numbers that the paper and the authors' logs report for a recipe."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.paper.table_schema import load_paper_tables
from paramdiff.recipe.differences import differences
from paramdiff.recipe.loading import shipped_recipes
from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.settings import Settings


class PublishedNoise(Settings):
    """The authors' noise baseline of one strength."""

    accuracy: float = Field(description="mean over the noised originals")
    max_similarity: float = Field(description="mean; a network's own source counts")


class Published(Settings):
    """Published numbers of one setting; null if nothing is published.

    Accuracies and similarities are fractions. Names that begin with ``log_`` come from the
    authors' logs, which are not always the runs behind the paper's tables.
    """

    where: str = Field(description="place in the paper")
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
    deviations: tuple[str, ...] = Field(
        (), description="fields in which the run here differs from the paper's recipe"
    )

    @property
    def minus_original(self) -> float | None:
        """Generated minus original mean accuracy, of one run of the authors'."""
        for generated, original in (
            (self.log_generated_mean, self.log_original_mean),
            (self.generated_mean, self.original_mean),
        ):
            if generated is not None and original is not None:
                return generated - original
        return None


PUBLISHED = files("paramdiff.paper") / "published.json"
NO_DEVIATION = (
    "name",
    "description",
    "seed",
    "generator_seeds",
    "task.root",
    "task.seed",
    "evaluation",
)
"""Fields that may differ from the paper's recipe without a deviation."""


def published_for(name: str, recipe: Recipe | None = None) -> Published | None:
    """Look up the published numbers of a setting.

    Args:
        name: of a shipped recipe, or of a recipe with one changed value
            (``main/cifar100_resnet18,latent_noise=0.01``).
        recipe: the recipe that is run under that name, overrides included; None if none is.

    Returns:
        The numbers, and the fields in which the run differs from the shipped recipe; None if
        nothing is published.
    """
    numbers = _numbers()
    if name not in numbers:
        return None
    deviations = () if recipe is None else deviations_of(name, recipe.model_dump(mode="json"))
    return Published(**numbers[name], deviations=deviations)


def deviations_of(name: str, ran: dict[str, Any]) -> tuple[str, ...]:
    """List the fields in which a run differs from the paper's recipe.

    Args:
        name: of a setting, as above.
        ran: the dumped recipe that was run under that name.

    Returns:
        Dotted paths.
    """
    return tuple(
        path
        for path in differences(_shipped(name).model_dump(mode="json"), ran)
        if not any(path == field or path.startswith(f"{field}.") for field in NO_DEVIATION)
    )


@cache
def _numbers() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def _shipped(name: str) -> Recipe:
    """Load the shipped recipe of a setting, with the value that the setting changes."""
    if name in shipped_recipes():
        return load_recipe(name)
    settings = (one for table in load_paper_tables().values() for one in table.settings)
    setting = next(one for one in settings if one.key == name)
    return load_recipe(setting.recipe, [setting.change] if setting.change else [])
