"""What the paper and the authors' logs report for a setting, for showing beside a run."""

import json
from functools import cache
from typing import Any

from paramdiff.recipe import SHIPPED, Recipe, load_recipe, shipped_recipes
from paramdiff.recipe.exhibits import load_exhibits
from paramdiff.recipe.factors import differences
from paramdiff.report.published import Published

PUBLISHED = SHIPPED / "published.json"
NO_DEPARTURE = ("name", "description", "seed", "seeds", "task.root", "task.seed", "evaluation")
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
