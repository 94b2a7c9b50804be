"""When the check between codec and denoiser stops: zoos that work, noise, and what lies between.

    python -m benchmarks.reconstruction --out DIR

Collects four zoos for scikit-learn's digits (half a minute each on two CPU cores) and fits the
default codec to them, with their checkpoints held out in several ways, to few of them, and to
independent noise of the same size. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.commands.reconstruction_gate import (
    LEAST_EXPLAINED,
    answers_apart,
    explained_by_single_parameters,
    explained_variance,
)
from paramdiff.memmap import column_moments
from paramdiff.parameters.space import ParameterSpace
from paramdiff.processes import join
from paramdiff.progress import ignore_progress
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.copy_stages import bind_recipe
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.predictors import build_predictor
from paramdiff.runs.run_context import RunContext
from paramdiff.runs.stage_loop import complete
from paramdiff.runs.stages import ZOO_STAGES
from paramdiff.tasks.base import Task
from paramdiff.zoo.zoo import Zoo

CPU = torch.device("cpu")
RUNS = ["collection.num_runs=4", "collection.num_checkpoints=90", "collection.num_held_out=30"]
INDEPENDENT = [
    "collection.independent_runs=true",
    "collection.num_runs=31",
    "collection.num_checkpoints=30",
    "collection.num_held_out=1",
    "collection.pretraining.epochs=4",
    "collection.skip_steps=20",
    "parameters.select=['*']",
]
ZOOS = {
    "one run": [],
    "one run, another seed": ["seed=1"],
    "four runs from one checkpoint": RUNS,
    "independent runs": INDEPENDENT,
}
FEW = (60, 20, 10)
COLUMNS = ("checkpoints", "held out", "latent", "explained", "single", "answers", "between")


def main() -> None:
    """Measure, then print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the zoos")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {}
    for name, overrides in ZOOS.items():
        zoo, task = _zoo(out / name.replace(" ", "_").replace(",", ""), overrides)
        every = torch.cat([zoo.originals, zoo.held_out])
        for num in (len(every), *(FEW if name.startswith("one run") else ())):
            some = every[torch.linspace(0, len(every) - 1, num).round().long()]
            rows[f"{name}, {num}"] = _measured(zoo, task, some, _spaced(num))
        if len(zoo.held_out) > 1:
            end = torch.arange(len(every)) >= len(zoo.originals)
            rows[f"{name}, its end held out"] = _measured(zoo, task, every, end)
        if name == "one run":
            for num in (len(every), *FEW):
                rows[f"noise, {num}"] = _measured(zoo, task, _noise(every, num), _spaced(num))
            for share in (0.95, 0.99):
                noise = _noise(every, len(every))
                wide = _measured(zoo, task, noise, _spaced(len(every)), share)
                rows[f"noise, {len(every)}, codec of {share:.0%}"] = wide
    table = Table(title="Reconstructions of held-out checkpoints")
    for heading in ("", *COLUMNS, "parameters", "networks"):
        table.add_column(heading)
    for name, row in rows.items():
        enough = row["explained"] >= row["single"] + LEAST_EXPLAINED * (1 - row["single"])
        verdicts = ["passes" if enough else "stops"]
        verdicts.append("passes" if row["answers"] <= row["most"] else "stops")
        table.add_row(name, *(f"{row[column]:.3g}" for column in COLUMNS), *verdicts)
    Console(width=150).print(table)
    print(json.dumps(rows))


def _zoo(folder: Path, overrides: list[str]) -> tuple[Zoo, Task]:
    recipe = load_recipe("quickstart", overrides)
    assert recipe.task is not None
    run = RunContext(recipe, RunFolder(folder), CPU, ignore_progress, join(CPU))
    bind_recipe(run.folder, recipe)
    complete(ZOO_STAGES, run)
    assert run.task is not None
    return run.zoo, run.task


def _spaced(num: int) -> Tensor:
    """Which of so many ``paramdiff fit`` holds out, or would, if there were not too few."""
    held_out = torch.zeros(num, dtype=torch.bool)
    count = max(2, round(0.1 * num))
    held_out[(2 * torch.arange(count) + 1) * num // (2 * count)] = True
    return held_out


def _noise(vectors: Tensor, num: int) -> Tensor:
    """Independent parameters with the means and standard deviations of the zoo's."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(num, vectors.shape[1], generator=generator)
    return vectors.mean(0) + vectors.std(0) * draws


def _measured(
    zoo: Zoo, task: Task, every: Tensor, held_out: Tensor, share: float = 0.8
) -> dict[str, float]:
    originals, others = every[~held_out], every[held_out]
    space = ParameterSpace.fit(originals, zoo.layout, zoo.base)
    vectors, sources = space.normalize(originals), space.normalize(others)
    codec = fit_pca_codec(vectors, share)
    predictor = build_predictor(task, replace(zoo, originals=originals), CPU)
    answers, between, most = answers_apart(predictor, space, codec, sources, "running")
    return {
        "checkpoints": len(originals),
        "held out": len(others),
        "latent": codec.latent_dim,
        "explained": explained_variance(codec, sources, vectors.mean(0), "running"),
        "single": explained_by_single_parameters(codec, vectors, column_moments(vectors)[1]),
        "answers": answers,
        "between": between,
        "most": most,
    }


if __name__ == "__main__":
    main()
