"""The run file: YAML to an immutable, fully resolved ``Recipe``."""

from paramdiff.recipe.factors import first_difference
from paramdiff.recipe.recipe import FolderSettings, Recipe, load_factors, load_recipe, to_yaml
from paramdiff.recipe.source import SHIPPED, shipped_recipes

__all__ = [
    "SHIPPED",
    "FolderSettings",
    "Recipe",
    "first_difference",
    "load_factors",
    "load_recipe",
    "shipped_recipes",
    "to_yaml",
]
