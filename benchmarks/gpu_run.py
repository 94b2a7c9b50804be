"""A whole run of a ``main/`` recipe on synthetic images, and its networks scored on the CPU again.

The recipe is ``main/cifar100_resnet18``: the paper's preset, the last two BatchNorm layers of a
ResNet-18; images, their size and the number of networks are smaller, and nothing is downloaded.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.runs.folder import RunFolder
from paramdiff.scoring.predict import Scorer
from paramdiff.storage import read_tensors
from paramdiff.tasks.base import ClassificationTask
from paramdiff.tasks.registry import build_task

RECIPE = "main/cifar100_resnet18"
NUM_CLASSES = 10
NUM_IMAGES = {False: (4_000, 1_000), True: (120, 40)}
PIXELS = {False: 64, True: 32}
CHANGES = {
    False: ["collection.pretraining.epochs=3", "generation.num_samples=50"],
    True: [
        "collection.pretraining.epochs=1",
        "collection.num_checkpoints=6",
        "collection.num_held_out=2",
        "collection.fine_tuning.batch_size=16",
        "codec.channels=[4, 4, 4, 4, 4]",
        "codec.latent_dim=16",
        "codec.training.num_steps=4",
        "diffusion.denoiser.channels=[4, 8, 4]",
        "diffusion.training.num_steps=4",
        "generation.num_samples=4",
        "generation.solver=ddim",
        "generation.num_inference_steps=10",
        "evaluation.num_trajectories=1",
    ],
}
LABEL_TOLERANCE = 0.01
"""The share of labels that may differ: those of near ties, by products that round to three digits
on the device (TF32), as the program computes there."""
SECONDS_BETWEEN_LOOKS = 0.5


def whole_run(
    folder: Path, device: torch.device, is_tiny: bool, seconds_left: Callable[[], float]
) -> Iterator[dict[str, Any]]:
    """Run the recipe by the command line, then score its networks on the CPU.

    Args:
        folder: for data and run.
        device: where to run.
        is_tiny: whether sizes only show that it runs.
        seconds_left: until it should be done.

    Yields:
        Rows: the seconds of each stage as it ends, then the labels that differ.

    Raises:
        RuntimeError: the program failed, or did not end in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder / "images.npz", *NUM_IMAGES[is_tiny], PIXELS[is_tiny])
    changes = [
        "task.name=npz",
        f"task.root={folder / 'images.npz'}",
        "task.network.pretrained=false",
        f"task.image_size={PIXELS[is_tiny]}",
        *CHANGES[is_tiny],
    ]
    out = RunFolder(folder / "run")
    command = [sys.executable, "-m", "paramdiff", "run", RECIPE, "--out", str(out.root)]
    command += ["--device", device.type, *(part for one in changes for part in ("--set", one))]
    program = subprocess.Popen(command, env=dict(os.environ))
    seen: set[str] = set()
    while True:
        code = program.poll()
        for record in out.log.records():
            if record["stage"] not in seen:
                seen.add(record["stage"])
                yield {
                    "what": f"stage {record['stage']}",
                    "unit": "s",
                    "device": record["seconds"],
                }
        if code is not None:
            break
        if seconds_left() < 0:
            program.kill()
            program.wait()
            raise RuntimeError("the run did not end in its time")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if code:
        raise RuntimeError(f"paramdiff ended with code {code}")
    yield _labels_again(out, load_recipe(RECIPE, changes))


def write_images(path: Path, num_train: int, num_test: int, pixels: int) -> None:
    """A picture for each class, under noise that lets a network learn most of them.

    Args:
        path: of the ``.npz`` file.
        num_train: training images.
        num_test: test images.
        pixels: per side.
    """
    draws, arrays = np.random.default_rng(0), {}
    coarse = draws.integers(0, 256, (NUM_CLASSES, 3, 4, 4))
    pictures = coarse.repeat(pixels // 4, 2).repeat(pixels // 4, 3)
    for part, number in (("train", num_train), ("test", num_test)):
        labels = np.arange(number) % NUM_CLASSES
        noisy = pictures[labels] + draws.normal(0, 200, (number, 3, pixels, pixels))
        arrays |= {f"x_{part}": noisy.clip(0, 255).astype(np.uint8), f"y_{part}": labels}
    np.savez(path, **arrays)


def _labels_again(out: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """What the CPU says to the run's generated networks, beside what the run says."""
    assert recipe.task is not None
    task = build_task(recipe.task)
    assert isinstance(task, ClassificationTask)
    told = read_tensors(out.root / "arrays.safetensors")["labels/generated"]
    files = sorted((out.root / "generated").glob("*.safetensors"))[: len(told)]
    networks = [read_tensors(path) for path in files]
    first = networks[0]
    names = [n for n in first if any(not one[n].equal(first[n]) for one in networks)]
    scorer = Scorer(task.build_network(), first, names, task.test.inputs)
    found = scorer.predict(networks)
    return {
        "what": "labels of the run's networks, scored on the CPU again",
        "unit": "share that differs",
        "difference": float((found != told[: len(found)]).double().mean()),
        "tolerance": LABEL_TOLERANCE,
    }
