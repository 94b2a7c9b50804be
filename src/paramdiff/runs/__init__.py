"""Runs: a recipe, its stages and their artifacts in one folder; and sweeps of recipes."""
