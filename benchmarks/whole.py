"""A whole ResNet-18: all of its parameters generated, from the checkpoints of a real training run.

``python -m benchmarks.whole --out DIR [--data ../shared/data/cifar10_10k_2k.npz]``

Trains torchvision's ResNet-18 (11.7 million parameters, its 1,000 outputs kept) on CIFAR-10 and
keeps a checkpoint every few updates; then ``paramdiff fit`` learns from all of them and generates
networks, in a process whose time and memory are measured. Last, test accuracy: of the originals,
of the originals after the codec, of the generated networks, and of what the originals give for
free: their average, and independent normal draws per value. Checkpoints that lie in DIR already
are used again. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.resident import measured
from paramdiff.evaluation.metrics.similarity import maximum_similarity
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.random import seeded_generator
from paramdiff.runs.folder import RunFolder
from paramdiff.storage import read_json, read_tensors, write_tensors, written_aside

NUM_GENERATED = NUM_COMPARED = 10
BATCH_SIZE, LR, KEEPING_LR, MOMENTUM = 64, 0.05, 0.01, 0.9
STEPS_BETWEEN = 3
WANTED_MB, WANTED_SECONDS = 4096, 600


class Images:
    """CIFAR-10, or part of it, as the file holds it."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.train, self.test = (
                tuple(torch.from_numpy(arrays[f"{kind}_{part}"]) for kind in "xy")
                for part in ("train", "test")
            )

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training images, half of them mirrored, and labels."""
        rows = torch.randint(len(self.train[0]), (BATCH_SIZE,), generator=generator)
        images, labels = scaled(self.train[0][rows]), self.train[1][rows].long()
        mirrored = torch.rand(BATCH_SIZE, generator=generator) < 0.5
        return torch.where(mirrored[:, None, None, None], images.flip(3), images), labels


def scaled(images: Tensor) -> Tensor:
    """Bytes to values around 0."""
    return images.float() / 64 - 2


def write_checkpoints(folder: Path, images: Images, num: int, num_steps: int) -> None:
    """Train for ``num_steps`` updates, then keep a checkpoint every few updates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.resnet18().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), LR, MOMENTUM, weight_decay=5e-4)
    with written_aside(folder) as aside:
        aside.mkdir()
        for step in range(num_steps + num * STEPS_BETWEEN):
            inputs, labels = images.batch(seeded_generator(0, step))
            if step == num_steps:
                optimizer.param_groups[0]["lr"] = KEEPING_LR
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(network(inputs), labels)
            loss.backward()
            optimizer.step()
            done = step + 1 - num_steps
            if done > 0 and done % STEPS_BETWEEN == 0:
                write_tensors(aside / f"step{step + 1:05d}.safetensors", network.state_dict())
            if step % 50 == 0:
                print(f"update {step}: loss {loss.item():.3f}", flush=True)


@dataclass(frozen=True)
class Group:
    """Networks that are compared.

    Attributes:
        name: of the group.
        networks: complete state dicts, made or read one at a time.
    """

    name: str
    networks: Iterable[dict[str, Tensor]]


def groups(root: Path) -> Iterator[Group]:
    """The originals, what was generated from them, and what they give for free."""
    pipeline = ParameterDiffusionPipeline.from_pretrained(root / "run" / "pipeline")
    space, codec = pipeline.parameter_space, pipeline.codec
    # the codec's mean is the zoo's; its components and the rest hold all of the zoo's variance
    variance = codec.residual_std.double() ** 2
    for component, std in zip(codec.components, codec.latent_std, strict=True):
        variance += (std * component).double() ** 2
    std = variance.sqrt().float()

    def after_the_codec(path: Path) -> Tensor:
        vector = space.normalize(space.flatten(read_tensors(path)))
        return codec.decode(codec.encode(vector[None]))[0]

    def gaussian(seed: int) -> Tensor:
        return codec.mean + std * torch.randn(codec.length, generator=seeded_generator(seed))

    def whole(normalized: Iterable[Tensor]) -> Iterable[dict[str, Tensor]]:
        return (space.restore(space.denormalize(vector)) for vector in normalized)

    files = sorted((root / "checkpoints").iterdir())
    evenly = np.linspace(0, len(files) - 1, min(NUM_COMPARED, len(files))).round().astype(int)
    originals = [files[place] for place in evenly]
    yield Group("original", map(read_tensors, originals))
    yield Group("original after the codec", whole(map(after_the_codec, originals)))
    yield Group(
        "generated", map(read_tensors, sorted((root / "run" / "generated").glob("*.safetensors")))
    )
    yield Group("average", whole([codec.mean]))
    yield Group("gaussian", whole(map(gaussian, range(NUM_COMPARED))))


@torch.inference_mode()
def wrong(network: nn.Module, group: Group, images: Images) -> Tensor:
    """What each network of a group gets wrong on the test images, ``[M, E]``."""
    inputs, labels = images.test
    found = []
    for state_dict in group.networks:
        network.load_state_dict(state_dict)
        logits = torch.cat([network(scaled(batch)) for batch in inputs.split(500)])
        found.append(logits.argmax(1) != labels)
    return torch.stack(found)


def compare(root: Path, images: Images) -> dict[str, dict[str, float]]:
    """Test accuracy of every group, and its similarity to the originals."""
    network = torchvision.models.resnet18().eval()
    found: dict[str, dict[str, float]] = {}
    originals = None
    print(f"{'group':>25} {'n':>3} {'accuracy, %':>12} {'std':>6} {'similarity':>10}")
    for group in groups(root):
        errors = wrong(network, group, images)
        is_first = originals is None
        originals = errors if is_first else originals
        own = torch.arange(len(errors)) if is_first else None
        accuracy = 100 * (1 - errors.double().mean(1))
        numbers = {
            "n": len(errors),
            "accuracy": round(float(accuracy.mean()), 2),
            "std": round(float(accuracy.std(correction=0)), 2),
            "similarity": round(float(maximum_similarity(errors, originals, own).mean()), 3),
        }
        found[group.name] = numbers
        n, mean, std, similarity = numbers.values()
        print(f"{group.name:>25} {n:>3} {mean:>12.2f} {std:>6.2f} {similarity:>10.3f}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train where there are no checkpoints, fit, generate, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="needs 25 GB")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cifar10_10k_2k.npz"))
    parser.add_argument("--num-checkpoints", type=int, default=100)
    parser.add_argument("--num-steps", type=int, default=900, help="before the first checkpoint")
    parser.add_argument("--set", action="append", default=[], help="path=value for the recipe")
    options = parser.parse_args(arguments)
    root, images = options.out, Images(options.data)
    if not (root / "checkpoints").exists():
        root.mkdir(parents=True, exist_ok=True)
        write_checkpoints(root / "checkpoints", images, options.num_checkpoints, options.num_steps)
    overrides = [part for one in options.set for part in ("--set", one)]
    fit = measured(
        "fit",
        str(root / "checkpoints"),
        *("--out", str(root / "run"), "--num-samples", str(NUM_GENERATED), *overrides),
    )
    config = read_json(root / "run" / "pipeline" / "codec" / "config.json")
    found = {
        "checkpoints": len(list((root / "checkpoints").iterdir())),
        "vector_length": config["length"],
        "latent_dim": config["latent_dim"],
        "fit": fit,
        "stages": {one["stage"]: one["seconds"] for one in RunFolder(root / "run").log.records()},
        "limits": {"peak_memory_mb": WANTED_MB, "seconds": WANTED_SECONDS},
        "groups": compare(root, images),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
