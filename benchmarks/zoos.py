"""Zoos that benchmarks learn from, collected as a run would."""

from pathlib import Path

import torch

from paramdiff.cli._console import progress_bars
from paramdiff.recipe.schema import Recipe
from paramdiff.tasks.base import Task
from paramdiff.zoo.collect import collect
from paramdiff.zoo.zoo import Zoo
from paramdiff.zoo.zoo_settings import CollectionSettings


def collected(recipe: Recipe, task: Task, folder: Path, device: torch.device | None = None) -> Zoo:
    """Collect a recipe's checkpoints, where they are not there yet.

    Args:
        recipe: what is trained, how, and what is kept.
        task: data and network.
        folder: holds the zoo in ``zoo`` and unfinished work in ``state``.
        device: where to train; the CPU by default.

    Returns:
        The zoo.
    """
    if not (folder / "zoo").is_dir():
        assert isinstance(recipe.collection, CollectionSettings)
        with progress_bars() as progress:
            collect(
                task,
                recipe.parameters.select,
                recipe.collection,
                seed=recipe.seed,
                device=device or torch.device("cpu"),
                zoo_folder=folder / "zoo",
                state_folder=folder / "state",
                progress=progress,
            )
    return Zoo.load(folder / "zoo")
