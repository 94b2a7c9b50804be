"""What every shipped recipe generates and costs: the table behind ``paramdiff recipes``.

After a change of a recipe, a network or the estimate: ``python -m tests.recipe.costs`` from the
repository's root writes the table again.
"""

import json

from paramdiff.recipe.loading import COSTS, shipped_recipes
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.cost import PFLOP, estimate_cost
from paramdiff.runs.meta_models import build_meta_models
from paramdiff.tasks.registry import describe_task


def computed(name: str) -> list[float | None]:
    """A recipe's number of generated parameters and its PFLOP, to three digits.

    The operations of a task with its own loss and score are not counted.
    """
    recipe = load_recipe(name)
    description = describe_task(recipe.task)
    parts = build_meta_models(recipe, description)
    if description.input_shape is None:
        return [parts.layout.num_parameters, None]
    operations = sum(estimate_cost(recipe, description, parts).values())
    return [parts.layout.num_parameters, float(f"{operations / PFLOP:.3g}")]


def rendered() -> str:
    """The table, one recipe a line."""
    lines = [f" {json.dumps(name)}: {json.dumps(computed(name))}" for name in shipped_recipes()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    COSTS.write_text(rendered(), encoding="utf-8")
