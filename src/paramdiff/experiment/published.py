"""What the paper and the authors' logs report for a shipped recipe, for showing beside a run."""

import json
from typing import Any

from paramdiff.recipe import SHIPPED, Recipe, load_recipe
from paramdiff.recipe.factors import differences
from paramdiff.report.sweep import Published

PUBLISHED = SHIPPED / "published.json"
NO_DEPARTURE = ("name", "description", "seed", "seeds", "task.root", "task.seed", "evaluation")
"""Fields that change no setting of the paper's."""


def published_for(name: str, recipe: Recipe) -> Published | None:
    """The published numbers of a shipped recipe.

    Args:
        name: of the shipped recipe.
        recipe: what is run under that name, overrides and all.

    Returns:
        The numbers, and the fields in which the run is not the shipped recipe; None where nothing
        is published.
    """
    numbers: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    if name not in numbers:
        return None
    shipped, ours = (one.model_dump(mode="json") for one in (load_recipe(name), recipe))
    departures = [
        path
        for path in differences(shipped, ours)
        if not any(path == field or path.startswith(f"{field}.") for field in NO_DEPARTURE)
    ]
    return Published(**numbers[name], departures=tuple(departures))
