"""Recipes: YAML files to immutable, fully resolved settings. Nothing here imports torch."""
