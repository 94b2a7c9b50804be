"""What each stage costs against the sizes that it depends on, one size varied at a time.

``python -m benchmarks.stages [--rounds 2]``

Random vectors and latents go through what a run does under the ``default`` and the ``paper``
preset. Times are seconds of the process's own computing on one thread of the CPU, the median of
the rounds after one that is not counted; nothing is trained to an end. Scoring depends on the
network and has a benchmark of its own. The last line is one JSON object.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from paramdiff.codecs.autoencoder import AutoencoderCodec
from paramdiff.codecs.base import Codec, decode_all
from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.codecs.registry import fit_codec
from paramdiff.diffusion.sampling import sample_latents
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import build_denoiser, train_denoiser
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.random import seeded_generator
from paramdiff.recipe.schema import Recipe, load_recipe

CPU = torch.device("cpu")
BATCH_SIZE = 50
NUM_STEPS = 4
"""Steps of a chain by which one is told; divides 1,000."""


@dataclass(frozen=True)
class Sizes:
    """What a stage may depend on: N, P, L and M."""

    checkpoints: int = 300
    parameters: int = 2048
    latent: int = 128
    samples: int = 200

    def vectors(self, num: int) -> Tensor:
        """Random vectors ``[num, P]``."""
        return torch.randn(num, self.parameters, generator=seeded_generator(0, num))

    def latents(self, size: int, generator: torch.Generator) -> Tensor:
        """A random batch ``[size, L]``."""
        return torch.randn(size, self.latent, generator=generator)

    def recipe(self, preset: str, updates: int) -> Recipe:
        """The paper's first recipe under a preset, with so many updates and this latent."""
        changes = [f"preset={preset}", f"diffusion.training.num_steps={updates}"]
        if preset == "paper":
            changes += [f"codec.latent_dim={self.latent}", f"codec.training.num_steps={updates}"]
        return load_recipe("main/cifar100_resnet18", changes)


Work = tuple[Callable[[], Any], int]
"""What is timed, and how many times what is told it holds."""


def fit(sizes: Sizes, preset: str) -> Work:
    """All of the linear codec."""
    vectors = sizes.vectors(sizes.checkpoints)
    return lambda: fit_pca_codec(vectors, 0.8), 1


def codec_update(sizes: Sizes, preset: str) -> Work:
    """Updates of the autoencoder; the published settings make one more than told."""
    vectors, settings = sizes.vectors(sizes.checkpoints), sizes.recipe(preset, 1).codec
    return lambda: fit_codec(vectors, settings, seed=0, device=CPU), 2


def denoiser_update(sizes: Sizes, preset: str) -> Work:
    """Updates of the denoiser."""
    settings = sizes.recipe(preset, 1 if preset == "paper" else 100).diffusion
    assert settings is not None
    return lambda: train_denoiser(
        sizes.latents, sizes.latent, settings, seed=0, device=CPU
    ), settings.training.num_updates


def sampling_step(sizes: Sizes, preset: str) -> Work:
    """Steps of the reverse process, of all samples."""
    settings = sizes.recipe(preset, 1).diffusion
    assert settings is not None
    denoiser = build_denoiser(settings, sizes.latent).eval()
    scheduler = build_scheduler(settings.schedule)
    return lambda: sample_latents(
        denoiser,
        scheduler,
        range(sizes.samples),
        latent_dim=sizes.latent,
        num_inference_steps=NUM_STEPS,
        batch_size=min(BATCH_SIZE, sizes.samples),
        device=CPU,
    ), NUM_STEPS


def decoding(sizes: Sizes, preset: str) -> Work:
    """All samples, from latents to vectors."""
    codec: Codec
    if preset == "default":
        codec = fit_pca_codec(sizes.vectors(sizes.checkpoints), 0.8)
    else:
        codec = AutoencoderCodec(length=sizes.parameters, latent_dim=sizes.latent)
    latents = torch.randn(sizes.samples, codec.latent_dim, generator=seeded_generator(0))
    return lambda: decode_all(codec.eval(), latents, "running"), 1


def position(sizes: Sizes, preset: str) -> Work:
    """Distances and spread of one group against the originals, as the evaluation has some 25."""
    layout = ParameterLayout.of({"all": torch.empty(sizes.parameters)}, ["all"])
    references = ReferenceSet(sizes.vectors(sizes.checkpoints), layout, tests_copying=False)
    made = sizes.vectors(sizes.samples)
    return lambda: references.measure(made, None), 1


@dataclass(frozen=True)
class Stage:
    """What is measured.

    Attributes:
        name: for the table.
        preset: under which.
        prepare: sizes and preset to what is timed.
        varied: size to its values.
    """

    name: str
    preset: str
    prepare: Callable[[Sizes, str], Work]
    varied: dict[str, tuple[int, ...]]


LARGE, NARROW, FEW = (2048, 16_384, 131_072), (64, 128, 256), (10, 50, 200)
STAGES = (
    Stage("codec, in all", "default", fit, {"checkpoints": (30, 300), "parameters": LARGE}),
    Stage("codec, an update", "paper", codec_update, {"parameters": (512, 2048, 8192)}),
    Stage("denoiser, an update", "default", denoiser_update, {"latent": (8, 64, 512)}),
    Stage("denoiser, an update", "paper", denoiser_update, {"latent": NARROW}),
    Stage("a step of sampling", "default", sampling_step, {"samples": FEW, "latent": (8, 512)}),
    Stage("a step of sampling", "paper", sampling_step, {"samples": FEW, "latent": NARROW}),
    Stage("decoding", "default", decoding, {"parameters": LARGE}),
    Stage("decoding", "paper", decoding, {"parameters": (512, 2048)}),
    Stage(
        "distances of a group", "both", position, {"checkpoints": (30, 300), "parameters": LARGE}
    ),
)


def seconds(work: Work, rounds: int) -> float:
    """The median time of one of what is told."""
    call, times = work
    found = []
    for _ in range(1 + rounds):
        started = time.process_time()
        call()
        found.append((time.process_time() - started) / times)
    return statistics.median(found[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line each and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for stage in STAGES:
        for size, values in stage.varied.items():
            for value in values:
                sizes = replace(Sizes(), **{size: value})
                took = seconds(stage.prepare(sizes, stage.preset), options.rounds)
                rows.append((stage.name, stage.preset, size, value, round(1000 * took, 3)))
                print(
                    f"{stage.name:>22} {stage.preset:>8} {size:>12} {value:>8,} {took:>9.4f} s",
                    flush=True,
                )
    print(json.dumps({"base": vars(Sizes()), "rows": rows}))


if __name__ == "__main__":
    main()
