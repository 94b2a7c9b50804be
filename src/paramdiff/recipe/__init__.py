"""The run file: YAML to an immutable, fully resolved ``Recipe``.

A resolved recipe knows every part that it configures, and with them torch. The names load when
first used, so that listing the shipped recipes (``paramdiff.recipe.listing``) needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramdiff.recipe.differences import first_difference
    from paramdiff.recipe.loading import SHIPPED, shipped_recipes
    from paramdiff.recipe.schema import (
        FolderSettings,
        Recipe,
        load_factors,
        load_recipe,
        resolve_recipe,
        to_yaml,
    )

__all__ = [
    "SHIPPED",
    "FolderSettings",
    "Recipe",
    "first_difference",
    "load_factors",
    "load_recipe",
    "resolve_recipe",
    "shipped_recipes",
    "to_yaml",
]

_ELSEWHERE = {
    "first_difference": "differences",
    "SHIPPED": "loading",
    "shipped_recipes": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'paramdiff.recipe' has no attribute {name!r}")
    return getattr(import_module(f"paramdiff.recipe.{_ELSEWHERE.get(name, 'schema')}"), name)
