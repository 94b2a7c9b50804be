"""Memory against the number of generated parameters (the paper's Table 13).

``python -m benchmarks.memory [--reference PATH] [--limit-mb 6000] [--device auto]``

No recipe of the paper generates the numbers of parameters of that table, so random vectors of
these lengths go through what a run trains, for a few updates: the ``default`` preset's linear
codec and denoiser together; the paper's autoencoder and denoiser with their published settings
(batches of 50, AdamW, forward passes in bfloat16); and the authors' own autoencoder, in the same
way, where PATH is a checkout of their repository. Each measurement is a process of its own: the
most memory it holds beyond what it held before anything was built.

What would need more than the limit is computed instead: weights, gradients and AdamW's two
moments at 16 bytes a weight (4 where a part only uses weights), and all else as in the largest
row that was measured, in proportion to the length. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.sides import Reference, TheirCodec
from paramdiff.codecs.autoencoder import AutoencoderCodec
from paramdiff.codecs.base import decode_all, encode_all
from paramdiff.codecs.registry import fit_codec
from paramdiff.device import resolve_device
from paramdiff.diffusion.training import build_denoiser, train_denoiser
from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.runs.stage_log import peak_memory

# length, latent, and what the paper measured on one GPU: autoencoder and diffusion, MB
ROWS = [
    (2_048, 128, 658, 530),
    (30_016, 256, 3_756, 1_418),
    (100_288, 512, 13_352, 3_594),
    (300_288, 1_024, 44_882, 12_942),
]
NUM_VECTORS, NUM_UPDATES, BATCH_SIZE = 100, 3, 50
TRAINED, USED = 16, 4
"""Bytes that a weight takes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, help="a checkout of the authors' repository")
    parser.add_argument("--limit-mb", type=float, default=6000, help="what needs more is computed")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    options = parser.parse_args(arguments)
    device = resolve_device(options.device).type
    parts = [part for part in PARTS if part != "reference" or options.reference is not None]
    beyond_weights = dict.fromkeys(parts, 0.0)
    found = []
    print(f"{'parameters':>10} {'part':>11} {'MB':>9} {'':>10} {'weights':>9} {'paper':>9}")
    for length, latent_dim, *published in ROWS:
        weights = weights_mb(length, latent_dim)
        papers = dict(zip(("autoencoder", "diffusion"), published, strict=True))
        for part in parts:
            expected = weights[part] + beyond_weights[part] * length
            measured = None
            if expected < options.limit_mb:
                measured = peak_mb(part, length, latent_dim, device, options.reference)
                beyond_weights[part] = max(0.0, measured - weights[part]) / length
            row = {
                "parameters": length,
                "latent_dim": latent_dim,
                "part": part,
                "measured_mb": measured,
                "computed_mb": round(expected) if measured is None else None,
                "weights_mb": round(weights[part]),
                "published_mb": papers.get(part),
            }
            found.append(row)
            mb, how = (expected, "(computed)") if measured is None else (measured, "")
            paper = f"{papers[part]:,}" if part in papers else "-"
            told = f"{length:>10,} {part:>11} {mb:>9,.0f} {how:>10} {weights[part]:>9,.0f}"
            print(f"{told} {paper:>9}", flush=True)
    print(json.dumps({"device": device, "rows": found}))


def settings(latent_dim: int) -> Recipe:
    """The paper's recipe with another latent and a few updates."""
    changes = [f"codec.latent_dim={latent_dim}"]
    changes += [f"{part}.training.num_steps={NUM_UPDATES}" for part in ("codec", "diffusion")]
    return load_recipe("main/cifar100_resnet18", changes)


def default_settings() -> Recipe:
    """The same task under the default preset, with a few updates."""
    changes = ["preset=default", f"diffusion.training.num_steps={NUM_UPDATES}"]
    return load_recipe("main/cifar100_resnet18", changes)


def weights_of(length: int, latent_dim: int) -> dict[str, int]:
    """How many weights each of the paper's parts trains; nothing is allocated."""
    recipe = settings(latent_dim)
    assert recipe.diffusion is not None
    with torch.device("meta"):
        codec = AutoencoderCodec(length=length, latent_dim=latent_dim)
        denoiser = build_denoiser(recipe.diffusion, latent_dim)
    return {
        part: sum(weight.numel() for weight in module.parameters())
        for part, module in (("autoencoder", codec), ("diffusion", denoiser))
    }


def weights_mb(length: int, latent_dim: int) -> dict[str, float]:
    """What the weights of each part take; the zoo decides how many the default preset has."""
    codec, denoiser = weights_of(length, latent_dim).values()
    return {
        "default": 0.0,
        "autoencoder": TRAINED * codec / 2**20,
        "diffusion": (TRAINED * denoiser + USED * codec) / 2**20,
        "reference": TRAINED * codec / 2**20,
    }


def peak_mb(
    part: str, length: int, latent_dim: int, device: str, reference: Path | None = None
) -> float:
    """The most memory in MB that a part takes, measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (part, length, latent_dim, device, reference))


def _measure(
    part: str, length: int, latent_dim: int, device: str, reference: Path | None
) -> float:
    work = PARTS[part]
    if part == "reference":
        assert reference is not None
        work = partial(work, Reference(reference))
    vectors = torch.randn(NUM_VECTORS, length, generator=torch.Generator().manual_seed(0))
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.init()  # from now on the device's memory is told, not the program's
    before = peak_memory()
    work(vectors, latent_dim, place)
    return round(peak_memory() - before, 1)


def _train_default(vectors: Tensor, latent_dim: int, device: torch.device) -> None:
    """All that is learned, on the linear codec's own number of components; and one network."""
    recipe = default_settings()
    assert recipe.diffusion is not None
    codec, _ = fit_codec(vectors, recipe.codec, seed=0, device=device)
    latents = encode_all(codec, vectors)
    codec.fit_latent_moments(latents)
    train_denoiser(
        lambda size, generator: latents[torch.randint(len(latents), (size,), generator=generator)],
        codec.latent_dim,
        recipe.diffusion,
        seed=0,
        device=device,
    )
    decode_all(codec, latents[:1], "running")


def _train_autoencoder(vectors: Tensor, latent_dim: int, device: torch.device) -> None:
    fit_codec(vectors, settings(latent_dim).codec, seed=0, device=device)


def _train_reference(
    reference: Reference, vectors: Tensor, latent_dim: int, device: torch.device
) -> None:
    """The authors' autoencoder as their script trains it: AdamW, forward passes in bfloat16."""
    codec = TheirCodec(reference, vectors.shape[1], latent_dim)
    module = codec.module.to(device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-5)
    for _ in range(NUM_UPDATES):
        batch = vectors[torch.randint(len(vectors), (BATCH_SIZE,))].to(device)
        noise = torch.randn_like(batch), torch.randn(BATCH_SIZE, latent_dim, device=device)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = codec.loss(batch, *noise, 0.0)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _encode(
    codec: AutoencoderCodec, vectors: Tensor, size: int, generator: torch.Generator
) -> Tensor:
    rows = torch.randint(len(vectors), (size,), generator=generator)
    return codec.encode(vectors[rows].to(codec.device), "batch")


def _train_diffusion(vectors: Tensor, latent_dim: int, device: torch.device) -> None:
    """Encode batches, train on them, and decode, as the authors' script does."""
    recipe = settings(latent_dim)
    assert recipe.diffusion is not None
    codec = AutoencoderCodec(length=vectors.shape[1], latent_dim=latent_dim).eval().to(device)
    batch = partial(_encode, codec, vectors)
    train_denoiser(batch, latent_dim, recipe.diffusion, seed=0, device=device)
    decode_all(codec, torch.randn(1, latent_dim, device=device), "sample", batch_size=1)


PARTS = {
    "default": _train_default,
    "autoencoder": _train_autoencoder,
    "diffusion": _train_diffusion,
    "reference": _train_reference,
}


if __name__ == "__main__":
    main()
