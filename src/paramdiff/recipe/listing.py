"""A list of the shipped recipes with their sizes, costs and changes.

Sizes and costs come from a table beside the recipes, so that no network is built;
``paramdiff check`` computes them for any recipe, and tests keep the table true.
"""

import json
from dataclasses import dataclass
from typing import Any

from paramdiff.recipe.loading import SHIPPED, read, shipped_recipes

COSTS = SHIPPED / "costs.json"


@dataclass(frozen=True)
class Listed:
    """One line of the list.

    Attributes:
        name: of the shipped recipe.
        description: from the recipe.
        num_parameters: generated parameters per network.
        pflop: estimated floating-point operations from data to report, in units of 10^15; None
            if the task has its own loss and score, whose operations are not counted.
        factors: changes of an ablation, dotted path to value (for a whole part, its kind); empty
            for a complete recipe.
    """

    name: str
    description: str
    num_parameters: int
    pflop: float | None
    factors: dict[str, Any]

    @property
    def group(self) -> str:
        """The folder of the recipe; empty for those outside any."""
        return self.name.rpartition("/")[0]


def list_recipes() -> list[Listed]:
    """List all shipped recipes, those outside any folder first."""
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    listed = []
    for name in sorted(shipped_recipes(), key=lambda name: ("/" in name, name)):
        content = read(name)
        factors = {path: _value(content, path) for path in content.get("factors", [])}
        num_parameters, pflop = costs[name]
        listed.append(Listed(name, content["description"], num_parameters, pflop, factors))
    return listed


def _value(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content[key]
    return content["kind"] if isinstance(content, dict) else content
