"""What the paper and the authors' logs report for one recipe; null where they report nothing."""

import json
from functools import cache
from typing import Any

from pydantic import Field

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.paper.exhibit import load_exhibits
from paramdiff.recipe import SHIPPED, Recipe, load_recipe, shipped_recipes
from paramdiff.recipe.differences import differences
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


PUBLISHED = SHIPPED / "published.json"
NO_DEPARTURE = (
    "name",
    "description",
    "seed",
    "generator_seeds",
    "task.root",
    "task.seed",
    "evaluation",
)
"""Fields that change no setting of the paper's."""


def published_for(name: str, recipe: Recipe | None = None) -> Published | None:
    """The published numbers of a setting.

    Args:
        name: of a shipped recipe, or of a recipe with one changed value
            (``main/cifar100_resnet18,latent_noise=0.01``).
        recipe: what is run under that name, overrides and all; none where nothing is.

    Returns:
        The numbers, and the fields in which the run is not the shipped recipe; None where nothing
        is published.
    """
    numbers = _numbers()
    if name not in numbers:
        return None
    departures = () if recipe is None else departures_of(name, recipe.model_dump(mode="json"))
    return Published(**numbers[name], departures=departures)


def departures_of(name: str, ran: dict[str, Any]) -> tuple[str, ...]:
    """The fields in which a run is not what the paper ran.

    Args:
        name: of a setting, as above.
        ran: the dumped recipe that was run under that name.

    Returns:
        Dotted paths.
    """
    return tuple(
        path
        for path in differences(_shipped(name).model_dump(mode="json"), ran)
        if not any(path == field or path.startswith(f"{field}.") for field in NO_DEPARTURE)
    )


@cache
def _numbers() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def _shipped(name: str) -> Recipe:
    """The recipe of a setting as it is shipped, with the value that the setting changes."""
    if name in shipped_recipes():
        return load_recipe(name)
    settings = (one for exhibit in load_exhibits().values() for one in exhibit.settings)
    setting = next(one for one in settings if one.key == name)
    return load_recipe(setting.recipe, [setting.change] if setting.change else [])
