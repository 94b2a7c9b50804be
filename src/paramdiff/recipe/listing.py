"""The shipped recipes at a glance: what each generates, what it costs and what it changes.

Sizes and costs come from a table beside the recipes, so that the list needs no network to be
built; ``paramdiff check`` computes the same for any recipe, and the tests that the table is true.
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
        description: its own.
        num_parameters: that it generates per network.
        pflop: estimated floating-point operations from data to report, in units of 10^15; None
            where the task brings its own loss and score, whose operations are not counted.
        factors: what an ablation changes, dotted path to value (of a whole part, its kind); empty
            for a complete recipe.
    """

    name: str
    description: str
    num_parameters: int
    pflop: float | None
    factors: dict[str, Any]

    @property
    def group(self) -> str:
        """The folder that the recipe lies in; empty for those outside any."""
        return self.name.rpartition("/")[0]


def list_recipes() -> list[Listed]:
    """All shipped recipes, those outside any folder first."""
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
