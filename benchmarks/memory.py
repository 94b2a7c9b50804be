"""Memory against the number of generated parameters (the paper's Table 13).

``python -m benchmarks.memory [--rows 4] [--device auto]``

No recipe of the paper generates the numbers of parameters of that table, so random vectors of
these lengths go through the paper's autoencoder and denoiser, with their published settings
(batches of 50, AdamW, forward passes in bfloat16), for a few updates. Each measurement is a
process of its own: the most memory it holds beyond what it held before anything was built.
Weights, gradients and AdamW's two moments take 16 bytes a weight, which is counted for every row.
The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from paramdiff.codec.convolutional import ConvolutionalCodec
from paramdiff.codec.training import decode_all, train_codec
from paramdiff.diffusion.training import build_denoiser, train_denoiser
from paramdiff.engine import resolve_device
from paramdiff.experiment.folder import peak_memory
from paramdiff.recipe import Recipe, load_recipe

# length, latent, and what the paper measured on one GPU: autoencoder and diffusion, MB
ROWS = [
    (2_048, 128, 658, 530),
    (30_016, 256, 3_756, 1_418),
    (100_288, 512, 13_352, 3_594),
    (300_288, 1_024, 44_882, 12_942),
]
NUM_VECTORS, NUM_UPDATES = 100, 3
BYTES_PER_WEIGHT = 16


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=len(ROWS), help="how many, the smallest first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    options = parser.parse_args(arguments)
    device = resolve_device(options.device).type
    found = []
    print(f"{'parameters':>10} {'part':>11} {'here, MB':>9} {'counted':>9} {'paper':>9}")
    for number, (length, latent_dim, *published) in enumerate(ROWS):
        counted = weights_of(length, latent_dim)
        for part, paper_mb in zip(PARTS, published, strict=True):
            measured = peak_mb(part, length, latent_dim, device) if number < options.rows else None
            counted_mb = counted[part] * BYTES_PER_WEIGHT / 2**20
            found.append(
                {
                    "parameters": length,
                    "latent_dim": latent_dim,
                    "part": part,
                    "measured_mb": measured,
                    "counted_mb": round(counted_mb),
                    "published_mb": paper_mb,
                }
            )
            here = "-" if measured is None else f"{measured:,.0f}"
            print(f"{length:>10,} {part:>11} {here:>9} {counted_mb:>9,.0f} {paper_mb:>9,}")
    print(json.dumps({"device": device, "rows": found}))


def settings(latent_dim: int) -> Recipe:
    """The paper's recipe with another latent and a few updates."""
    changes = [f"codec.latent_dim={latent_dim}"]
    changes += [f"{part}.training.num_steps={NUM_UPDATES}" for part in ("codec", "diffusion")]
    return load_recipe("main/cifar100_resnet18", changes)


def weights_of(length: int, latent_dim: int) -> dict[str, int]:
    """How many weights each part trains; nothing is allocated."""
    recipe = settings(latent_dim)
    assert recipe.diffusion is not None
    with torch.device("meta"):
        codec = ConvolutionalCodec(length=length, latent_dim=latent_dim)
        denoiser = build_denoiser(recipe.diffusion, latent_dim)
    return {
        part: sum(weight.numel() for weight in module.parameters())
        for part, module in (("autoencoder", codec), ("diffusion", denoiser))
    }


def peak_mb(part: str, length: int, latent_dim: int, device: str) -> float:
    """The most memory in MB that a part takes, measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (part, length, latent_dim, device))


def _measure(part: str, length: int, latent_dim: int, device: str) -> float:
    work = PARTS[part]
    vectors = torch.randn(NUM_VECTORS, length, generator=torch.Generator().manual_seed(0))
    recipe, place = settings(latent_dim), torch.device(device)
    if place.type == "cuda":
        torch.cuda.init()  # from now on the device's memory is told, not the program's
    before = peak_memory()
    work(recipe, vectors, place)
    return round(peak_memory() - before, 1)


def _train_autoencoder(recipe: Recipe, vectors: Tensor, device: torch.device) -> None:
    train_codec(vectors, recipe.codec, seed=0, device=device)


@torch.no_grad()
def _encode(
    codec: ConvolutionalCodec, vectors: Tensor, size: int, generator: torch.Generator
) -> Tensor:
    rows = torch.randint(len(vectors), (size,), generator=generator)
    return codec.encode(vectors[rows].to(codec.device), "batch")


def _train_diffusion(recipe: Recipe, vectors: Tensor, device: torch.device) -> None:
    """Encode batches, train on them, and decode, as the authors' script does."""
    assert recipe.codec.kind == "convolutional" and recipe.diffusion is not None
    latent_dim = recipe.codec.latent_dim
    codec = ConvolutionalCodec(length=vectors.shape[1], latent_dim=latent_dim).eval().to(device)
    batch = partial(_encode, codec, vectors)
    train_denoiser(batch, latent_dim, recipe.diffusion, seed=0, device=device)
    decode_all(codec, torch.randn(1, latent_dim, device=device), "sample", batch_size=1)


PARTS = {"autoencoder": _train_autoencoder, "diffusion": _train_diffusion}


if __name__ == "__main__":
    main()
