"""Quality beside time: both sides learn from one real zoo, and what they generate is scored.

The zoo is the quickstart's (300 checkpoints of 192 parameters, handwritten digits). Both sides
train with the published settings of the ``paper`` preset, but for a latent of 32 (128 would be two
thirds of the vector), and generate 40 networks: the authors' code one by one in 1,000 steps, ours
in one batch in 1,000 and in fewer; the ``default`` preset stands beside them. Networks differ from
side to side, as the noise does; what agrees exactly is in ``python -m benchmarks.fidelity``.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.contest import Clock, OurWork, TheirWork
from benchmarks.sides import Reference
from benchmarks.zoos import collected
from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.evaluation.metrics.similarity import maximum_similarity
from paramdiff.evaluation.predictor import Predictor
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.runs.predictors import build_predictor
from paramdiff.tasks.registry import build_task
from paramdiff.training_settings import Optimization
from paramdiff.zoo.zoo import Zoo

PAPER = ("preset=paper", "codec.latent_dim=32")
FEWER = (("dpmsolver++", 50), ("dpmsolver++", 20))
Row = dict[str, Any]


def recipes() -> tuple[Recipe, Recipe]:
    """The quickstart under the two presets, ``paper`` and ``default``."""
    return load_recipe("quickstart", PAPER), load_recipe("quickstart")


def compare_quality(
    paper: Recipe, default: Recipe, reference: Reference, clock: Clock, num_networks: int
) -> list[Row]:
    """Train, generate and score on both sides, and print the table.

    Args:
        paper: zoo and settings of both sides.
        default: other settings for the same zoo.
        reference: the authors' modules.
        clock: what time is.
        num_networks: how many each generates.

    Returns:
        For each group its name, the seconds of training and of generating, and its quality.
    """
    zoo, predictor = _zoo(paper, clock)
    space = ParameterSpace.fit(zoo.originals, zoo.layout, zoo.base)
    vectors = space.normalize(zoo.originals)
    originals = zoo.originals, predictor.predict(zoo.originals).wrong

    def row(name: str, seconds: tuple[float, float], raw: Tensor) -> Row:
        return {
            "group": name,
            "training_s": seconds[0],
            "generating_s": seconds[1],
            **_quality(raw, originals, predictor, space),
        }

    rows = [row("originals", (0.0, 0.0), zoo.originals)]
    theirs = TheirWork(vectors, paper, clock, reference)
    trained = _train(theirs, paper, clock)
    start = clock.now()
    generated = space.denormalize(theirs.vectors_of(num_networks))
    rows.append(
        row(f"theirs, {theirs.num_steps} ddpm steps", (trained, clock.now() - start), generated)
    )
    for name, recipe in (("ours", paper), ("default", default)):
        ours = OurWork(vectors, recipe, clock, space)
        trained = _train(ours, recipe, clock)
        chains = [(recipe.generation.solver, recipe.generation.num_inference_steps), *FEWER]
        for solver, count in chains:
            pipeline = ours.pipeline(solver)
            start = clock.now()
            generated = _generate(pipeline, num_networks, count)
            title = f"{name}, {count} {solver} steps"
            rows.append(row(title, (trained, clock.now() - start), generated))
    _show(rows)
    return rows


def _zoo(recipe: Recipe, clock: Clock) -> tuple[Zoo, Predictor]:
    assert recipe.task is not None
    task = build_task(recipe.task)
    with tempfile.TemporaryDirectory() as folder:
        zoo = collected(recipe, task, Path(folder), clock.device)
    return zoo, build_predictor(task, zoo, clock.device)


def _train(work: OurWork | TheirWork, recipe: Recipe, clock: Clock) -> float:
    """All updates of both parts; returns the seconds."""
    assert recipe.diffusion is not None
    start = clock.now()
    training = recipe.codec.shared_training
    work.train_codec(1 if training is None else _after_first(training))
    work.train_denoiser(_after_first(recipe.diffusion.training))
    return clock.now() - start


def _after_first(training: Optimization) -> int:
    return training.num_updates - 1


def _generate(
    pipeline: ParameterDiffusionPipeline, num_networks: int, num_inference_steps: int
) -> Tensor:
    return pipeline(
        range(num_networks), num_inference_steps=num_inference_steps, batch_size=num_networks
    ).vectors


def _quality(
    raw: Tensor, originals: tuple[Tensor, Tensor], predictor: Predictor, space: ParameterSpace
) -> Row:
    """Of raw vectors ``[M, P]``, beside the originals' vectors and errors."""
    found = predictor.predict(raw)
    accuracy = found.test.float().mean(1)
    is_original = raw is originals[0]
    source = torch.arange(len(raw)) if is_original else None
    return {
        "networks": len(raw),
        "accuracy": float(accuracy.mean()),
        "accuracy_std": float(accuracy.std()),
        "max_similarity": float(maximum_similarity(found.wrong, originals[1], source).mean()),
        "dispersion": dispersion(space.normalize(raw), space.normalize(originals[0])),
    }


def _show(rows: Sequence[Row]) -> None:
    table = Table(title="one task, the quickstart's zoo")
    headings = ("group", "training, s", "generating, s", "accuracy %", "max. similarity", "spread")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["group"],
            f"{row['training_s']:,.1f}",
            f"{row['generating_s']:,.1f}",
            f"{100 * row['accuracy']:.2f} ± {100 * row['accuracy_std']:.2f}",
            f"{row['max_similarity']:.3f}",
            f"{row['dispersion']:.2f}",
        )
    Console(width=110).print(table)
