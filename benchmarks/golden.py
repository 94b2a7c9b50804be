"""Golden values: a fixed filling, fixed inputs, and a few numbers of what comes out.

``python -m benchmarks.fidelity --reference PATH --golden`` computes them on the authors' modules;
the tests compute them on ours and compare with what was printed. The filling is whole-number
arithmetic on an element's index and its tensor's name: it needs no random numbers, is the same on
every machine and does not depend on the order in which a module is built.
"""

import math
from zlib import crc32

import torch
from torch import Tensor

from benchmarks.sides import OurCodec, OurDenoiser, Side, TheirCodec, TheirDenoiser

LENGTH, LATENT_DIM, BATCH = 768, 128, 3
SEED, CHAIN_STEPS = 7, 50
Numbers = dict[str, tuple[float, ...]]

_PRIME, _FACTOR = 65_521, 40_503


def scattered(name: str, *shape: int) -> Tensor:
    """Values of mean 0 and variance about 1, told by the name and the shape alone."""
    index = torch.arange(math.prod(shape)) + crc32(name.encode()) % _PRIME
    uniform = (index * index * _FACTOR % _PRIME).double() / _PRIME
    return (math.sqrt(12) * (uniform - 0.5)).reshape(shape).float()


@torch.no_grad()
def fill(side: Side) -> None:
    """Give every tensor of a module its fixed value; variances and norm weights stay around 1."""
    for name, tensor in side.tensors().items():
        if not tensor.is_floating_point():
            continue
        value = scattered(name, *tensor.shape)
        if tensor.ndim > 1:
            value = value * math.sqrt(len(tensor) / tensor.numel())
        else:
            is_around_one = name.endswith(("norm.weight", ".1.weight", "running_var"))
            value = 0.2 * value + is_around_one
        tensor.copy_(value)


def summary(tensor: Tensor) -> tuple[float, ...]:
    """Mean, mean of the absolute values and maximum."""
    values = tensor.detach().double()
    return tuple(float(f"{x:.7g}") for x in (values.mean(), values.abs().mean(), values.max()))


def codec_numbers(side: OurCodec | TheirCodec) -> Numbers:
    """Encoding, decoding, losses and gradients of a filled codec."""
    vectors = scattered("vectors", BATCH, LENGTH)
    latents = scattered("latents", BATCH, LATENT_DIM)
    noise, latent_noise = (
        scattered("noise", BATCH, LENGTH),
        scattered("latent noise", BATCH, LATENT_DIM),
    )
    numbers: Numbers = {}
    for statistics in ("running", "batch", "sample"):
        fill(side)
        numbers[f"encode {statistics}"] = summary(side.encode(vectors, statistics))
        fill(side)
        numbers[f"decode {statistics}"] = summary(side.decode(latents, statistics))
    for name, kl_weight in (("autoencoder", 0.0), ("vae", 1.0)):
        loss = side.loss(vectors, noise, latent_noise, kl_weight)
        numbers[f"{name} loss"] = (_rounded(loss),)
        numbers[f"{name} gradient norm"] = (_gradient_norm(side, loss),)
    return numbers


def denoiser_numbers(side: OurDenoiser | TheirDenoiser) -> Numbers:
    """Predictions, the loss, its gradient and a short chain of a filled denoiser."""
    latents, eps = scattered("latents", BATCH, LATENT_DIM), scattered("noise", BATCH, LATENT_DIM)
    timesteps = torch.tensor([0, 17, 999])
    fill(side)
    numbers: Numbers = {
        "predict running": summary(side.predict(latents, timesteps, train=False)),
        "predict batch": summary(side.predict(latents, timesteps, train=True)),
    }
    fill(side)
    loss = side.loss(latents, timesteps, eps)
    numbers["diffusion loss"] = (_rounded(loss),)
    numbers["diffusion gradient norm"] = (_gradient_norm(side, loss),)
    fill(side)
    numbers[f"chain of {CHAIN_STEPS}"] = summary(side.chain(SEED, CHAIN_STEPS))
    return numbers


def assert_golden(found: Numbers, recorded: Numbers) -> None:
    """Compare within 1e-4 of each entry's mean absolute value.

    Args:
        found: what our modules give.
        recorded: what the authors' modules gave.
    """
    assert found.keys() == recorded.keys()
    for name, numbers in recorded.items():
        scale = numbers[1] if len(numbers) > 1 else abs(numbers[0])
        for ours, theirs in zip(found[name], numbers, strict=True):
            assert abs(ours - theirs) <= 1e-4 * max(scale, abs(theirs)), (name, ours, theirs)


def _rounded(value: Tensor) -> float:
    return float(f"{value.item():.7g}")


def _gradient_norm(side: Side, loss: Tensor) -> float:
    squares = [gradient.double().square().sum() for gradient in side.gradient(loss).values()]
    return _rounded(torch.stack(squares).sum().sqrt())
