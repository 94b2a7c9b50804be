"""Networks from independent seeds, before and after their units are aligned.

    python -m benchmarks.alignment --out DIR --mnist FOLDER

FOLDER holds the official files under ``MNIST/raw``. Networks are trained from seeds of their own
on 10,000 images; what is made of them for free (the average, Gaussians, points between two) is
scored on 2,000 test images, before and after. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.zoos import collected
from paramdiff.cli._console import progress_bars
from paramdiff.evaluation.metrics.similarity import pairwise_similarity
from paramdiff.permutation.align import align
from paramdiff.permutation.symmetry import find_symmetries
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.predictors import build_predictor
from paramdiff.tasks.base import ClassificationTask, Split
from paramdiff.tasks.registry import build_task
from paramdiff.zoo.zoo import Zoo

NUM_TRAIN, NUM_VALIDATION, NUM_TEST, NUM_DRAWN = 10_000, 1_000, 2_000, 10
SCALES = (0.25, 0.5, 1.0)
RECIPE = [
    "task.name=mnist",
    "task.image_size=32",
    "task.network={name: cnn_medium}",
    "collection.pretraining={epochs: 3, batch_size: 128, lr: 3.0e-3, decay: update}",
    "collection.fine_tuning={batch_size: 128, lr: 1.0e-4}",
    "collection.skip_steps=0",
    "collection.independent_runs=true",
    "collection.num_held_out=1",
    "parameters.select=['*']",
]


def main() -> None:
    """Collect the zoo, align it, print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the zoo")
    parser.add_argument("--mnist", type=Path, required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--num-networks", type=int, default=50)
    arguments = parser.parse_args()
    task, zoo = _zoo(arguments.out, arguments.mnist, arguments.num_networks)
    symmetries = find_symmetries(task.build_network(), zoo.layout, task.train.inputs[:2])
    with progress_bars() as progress:
        aligned = align(
            zoo.originals,
            zoo.held_out,
            symmetries,
            seed=0,
            progress=partial(progress, "aligning"),
        )
    predictor = build_predictor(task, zoo, torch.device("cpu"))
    originals = predictor.predict(zoo.originals)
    assert originals.wrong is not None
    results: dict[str, dict[str, float]] = {
        "originals": {
            "accuracy": 100 * float(originals.test.float().mean()),
            "pairwise IoU": pairwise_similarity(originals.wrong) or 0.0,
        },
        "spread": {"before": aligned.variance_before, "after": aligned.variance_after},
    }
    for when, vectors in (("before", zoo.originals), ("after", aligned.originals)):
        results[when] = {
            name: 100 * float(predictor.predict(made).test.float().mean())
            for name, made in _free(vectors).items()
        }
    table = Table("networks", "before", "after", title="Test accuracy (%)")
    for name, before in results["before"].items():
        table.add_row(name, f"{before:.1f}", f"{results['after'][name]:.1f}")
    Console(stderr=True).print(table)
    print(json.dumps(results))


def _zoo(out: Path, mnist: Path, num_networks: int) -> tuple[ClassificationTask, Zoo]:
    """The task on a part of MNIST, and networks from seeds of their own; made where not there."""
    counts = [
        f"collection.num_checkpoints={num_networks}",
        f"collection.num_runs={num_networks + 1}",
    ]
    recipe = load_recipe("quickstart", [*RECIPE, *counts, f"task.root={mnist}"])
    assert recipe.task is not None
    whole = build_task(recipe.task)
    assert isinstance(whole, ClassificationTask)
    task = replace(
        whole,
        train=_first(whole.train, NUM_TRAIN),
        validation=_first(whole.validation, NUM_VALIDATION),
        test=_first(whole.test, NUM_TEST),
    )
    return task, collected(recipe, task, out)


def _first(split: Split, num: int) -> Split:
    return Split(split.inputs[:num], split.labels[:num])


def _free(originals: Tensor) -> dict[str, Tensor]:
    """What is made of the originals ``[N, P]`` without data."""
    generator = torch.Generator().manual_seed(0)
    mean, std = originals.mean(0), originals.std(0)
    made = {"average of all": mean[None]}
    made["middle of two"] = (originals[0::2][:NUM_DRAWN] + originals[1::2][:NUM_DRAWN]) / 2
    for scale in SCALES:
        made[f"Gaussian, {scale:g} of the spread"] = mean + scale * std * torch.randn(
            NUM_DRAWN, len(mean), generator=generator
        )
    return made


if __name__ == "__main__":
    main()
