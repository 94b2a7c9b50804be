"""Are our codec, denoiser, losses, sampler and normalization the authors'?

    python -m benchmarks.fidelity --reference PATH            a table; status 1 if a check fails
    python -m benchmarks.fidelity --reference PATH --golden   the numbers that the tests record

PATH is a checkout of github.com/NUS-HPC-AI-Lab/Neural-Network-Diffusion. Both sides get the same
weights, inputs and noise, in float32 on the CPU. The largest absolute difference must stay within
1e-5, except for the chains (1e-4 of the largest value at their end) and the posterior variance
(1e-3 of itself), where diffusers computes the same formulas in another order of operations.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pprint import pprint

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.golden import LATENT_DIM, LENGTH, codec_numbers, denoiser_numbers
from benchmarks.sides import (
    BETA,
    OurCodec,
    OurDenoiser,
    Reference,
    Side,
    TheirCodec,
    TheirDenoiser,
)
from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace

FAMILIES = ((2048, 128), (768, 128), (10_880, 256))
TOLERANCE = 1e-5
# diffusers takes beta_t back from the quotient of two alphas_cumprod, which costs digits: up to
# 5e-4 of the posterior variance at T = 1000. Its mean goes through the predicted x_0.
CHAIN_TOLERANCE = 1e-4
VARIANCE_TOLERANCE = 1e-3
BATCH = 6


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        name: what was compared.
        difference: largest absolute difference; NaN where the check could not be made.
        scale: largest absolute value of the authors' result.
        tolerance: what the difference may be.
        note: why a check could not be made.
    """

    name: str
    difference: float
    scale: float
    tolerance: float
    note: str = ""

    @property
    def verdict(self) -> str:
        """``pass``, ``FAIL`` or ``not checked``."""
        if self.note:
            return "not checked"
        return "pass" if self.difference <= self.tolerance else "FAIL"


def compare(name: str, ours: Tensor, theirs: Tensor, *, relative: float | None = None) -> Check:
    """Compare two tensors of one shape.

    Args:
        name: what is compared.
        ours: from our code.
        theirs: from the authors', of the same shape.
        relative: the tolerance as a share of the authors' largest value; 1e-5 in all if None.

    Returns:
        The check.
    """
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    ours, theirs = ours.detach().double(), theirs.detach().double()
    scale = theirs.abs().max().item()
    tolerance = TOLERANCE if relative is None else relative * scale
    return Check(name, (ours - theirs).abs().max().item(), scale, tolerance)


def compare_all(name: str, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Check:
    """Compare two sets of tensors name by name; the worst one counts."""
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())
    checks = [compare(name, tensor, theirs[key]) for key, tensor in ours.items()]
    return max(checks, key=lambda check: check.difference)


@torch.no_grad()
def randomize(side: Side, generator: torch.Generator) -> None:
    """Move every tensor off its initial value, so that no two could be swapped unnoticed."""
    for name, tensor in side.tensors().items():
        if tensor.is_floating_point():
            factor = 1 + 0.2 * torch.randn(tensor.shape, generator=generator)
            tensor.mul_(factor.abs() if name.endswith("running_var") else factor)
            if not name.endswith("running_var"):
                tensor.add_(0.02 * torch.randn(tensor.shape, generator=generator))


def parameter_count(name: str, ours: Side, theirs: Side) -> Check:
    """Compare the numbers of parameters."""
    counts = [sum(p.numel() for p in side.module.parameters()) for side in (ours, theirs)]
    return Check(f"{name}: parameters", abs(counts[0] - counts[1]), counts[1], 0.0)


def codec_checks(reference: Reference, length: int, latent_dim: int) -> Iterator[Check]:
    """The autoencoder of one family, in all modes, with its losses and gradients."""
    generator = torch.Generator().manual_seed(length)
    ours, theirs = OurCodec(length, latent_dim), TheirCodec(reference, length, latent_dim)
    start = OurCodec(length, latent_dim)
    randomize(start, generator)
    vectors = torch.randn(BATCH, length, generator=generator)
    latents = torch.randn(BATCH, latent_dim, generator=generator)
    noise = torch.randn(BATCH, length, generator=generator)
    latent_noise = torch.randn(BATCH, latent_dim, generator=generator)
    family = f"codec {length}/{latent_dim}"

    def both() -> tuple[OurCodec, TheirCodec]:
        ours.copy_from(start)
        theirs.copy_from(start)
        return ours, theirs

    yield parameter_count(family, ours, theirs)
    for statistics in ("batch", "running", "sample"):
        encoded = [side.encode(vectors, statistics) for side in both()]
        yield compare(f"{family}: encode, {statistics} statistics", *encoded)
    for statistics in ("batch", "running", "sample"):
        decoded = [side.decode(latents, statistics) for side in both()]
        yield compare(f"{family}: decode, {statistics} statistics", *decoded)
    for name, kl_weight in (("autoencoder", 0.0), ("VAE", 1.0)):
        losses = [side.loss(vectors, noise, latent_noise, kl_weight) for side in both()]
        yield compare(f"{family}: {name} loss", *losses)
        gradients = [side.gradient(x) for side, x in zip((ours, theirs), losses, strict=True)]
        yield compare_all(f"{family}: {name} gradient", *gradients)
    yield compare_all(f"{family}: running averages after it", ours.tensors(), theirs.tensors())


def denoiser_checks(reference: Reference, latent_dim: int) -> Iterator[Check]:
    """The denoiser of one latent size: predictions, loss, gradient, chains."""
    generator = torch.Generator().manual_seed(latent_dim)
    start = OurDenoiser(latent_dim)
    randomize(start, generator)
    ours, theirs = OurDenoiser(latent_dim), TheirDenoiser(reference, latent_dim)
    latents = torch.randn(BATCH, latent_dim, generator=generator)
    eps = torch.randn(BATCH, latent_dim, generator=generator)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    family = f"denoiser {latent_dim}"

    def both() -> tuple[OurDenoiser, TheirDenoiser]:
        ours.copy_from(start)
        theirs.copy_from(start)
        return ours, theirs

    yield parameter_count(family, ours, theirs)
    for name, train in (("running", False), ("batch", True)):
        predicted = [side.predict(latents, timesteps, train=train) for side in both()]
        yield compare(f"{family}: forward, {name} statistics", *predicted)
    losses = [side.loss(latents, timesteps, eps) for side in both()]
    yield compare(f"{family}: diffusion loss", *losses)
    gradients = [side.gradient(x) for side, x in zip((ours, theirs), losses, strict=True)]
    yield compare_all(f"{family}: diffusion gradient", *gradients)
    for num_timesteps in (50, 1000) if latent_dim == LATENT_DIM else (50,):
        ends = [side.chain(3, num_timesteps) for side in both()]
        yield compare(f"{family}: chain of {num_timesteps}", *ends, relative=CHAIN_TOLERANCE)


class _TwoNormals(nn.Module):
    """The exact noise prediction for coordinates that are N(mean, std^2) each."""

    def __init__(self, alphas_cumprod: Tensor, size: int) -> None:
        super().__init__()
        self.alphas_cumprod = alphas_cumprod
        self.mean, self.std = torch.linspace(-2, 2, size), torch.linspace(0.1, 1.5, size)

    def forward(self, x: Tensor, t: Tensor, condition: float = 0.0) -> Tensor:
        alpha_bar = self.alphas_cumprod[t][:, None]
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * self.mean) / variance


def schedule_checks(reference: Reference) -> Iterator[Check]:
    """The forward process, and the reverse one with a denoiser whose chains end at unit scale."""
    for num_timesteps in (10, 1000):
        ours = build_scheduler(ScheduleSettings(num_timesteps=num_timesteps))
        forward = reference.diffusion.GaussianDiffusionTrainer(nn.Identity(), BETA, num_timesteps)
        reverse = reference.diffusion.DDPMSampler(nn.Identity(), BETA, num_timesteps)
        name = f"schedule, T = {num_timesteps}"
        yield compare(f"{name}: beta", ours.betas, forward.beta_t)
        yield compare(f"{name}: sqrt(abar)", ours.alphas_cumprod.sqrt(), forward.signal_rate)
        yield compare(
            f"{name}: sqrt(1 - abar)", (1 - ours.alphas_cumprod).sqrt(), forward.noise_rate
        )
        variance = torch.stack([ours._get_variance(t) for t in range(1, num_timesteps)])
        ratio = variance / reverse.posterior_variance[1:]
        yield compare(
            f"{name}: posterior variance, relative",
            ratio,
            torch.ones_like(ratio),
            relative=VARIANCE_TOLERANCE,
        )
        exact = _TwoNormals(ours.alphas_cumprod, LATENT_DIM)
        sides = OurDenoiser(LATENT_DIM), TheirDenoiser(reference, LATENT_DIM)
        ends = [side.chain(5, num_timesteps, exact) for side in sides]
        yield compare(f"{name}: chain, exact denoiser", *ends, relative=CHAIN_TOLERANCE)


def zoo_of_every_kind(num_checkpoints: int = 4) -> list[dict[str, Tensor]]:
    """Checkpoints with a matrix, a norm's statistics, a one-element and integer tensors."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        {
            "conv.weight": 0.3 * normal(8, 3, 3, 3) + 0.1,
            "bn.weight": 1 + 0.1 * normal(8),
            "bn.running_mean": 3 * normal(8),
            "bn.running_var": normal(8).exp(),
            "bn.num_batches_tracked": torch.tensor(100 + index),
            "scale": normal(1),
            "table": torch.arange(5) + index,
            "head.bias": 1e-3 * normal(10),
        }
        for index in range(num_checkpoints)
    ]


def parameter_checks(reference: Reference) -> Iterator[Check]:
    """Normalization, padding and their inverse against ``dataset.BaseDataset``."""
    try:
        dataset = reference.dataset()
    except UserError as error:
        yield Check("parameters: normalization", float("nan"), float("nan"), 0.0, str(error))
        return
    zoo = zoo_of_every_kind()
    with tempfile.TemporaryDirectory() as folder:
        for index, state_dict in enumerate(zoo):
            torch.save(state_dict, Path(folder) / f"{index:04d}.pth")
        theirs = type("Fidelity", (dataset.BaseDataset,), {"config": {}})(
            folder, dim_per_token=64, fill_value=0.0, granularity=0, pe_granularity=0
        )
        order = [int(Path(path).stem) for path in theirs.checkpoint_list]
        their_vectors = torch.stack([theirs[i][0].flatten() for i in range(len(zoo))])
    zoo = [zoo[i] for i in order]  # what is copied comes from the file that they list first
    layout = ParameterLayout.of(zoo[0], list(zoo[0]))
    raw = torch.stack([layout.flatten(state_dict) for state_dict in zoo])
    space = ParameterSpace.fit(raw, layout, zoo[0])
    yield compare("parameters: normalized and padded", space.normalize(raw), their_vectors)
    generator = torch.Generator().manual_seed(2)
    for name, vector in (
        ("of a checkpoint", their_vectors[1]),
        ("of noise", 2 * torch.randn(their_vectors.shape[1], generator=generator)),
    ):
        restored = space.restore(space.denormalize(vector))
        expected = theirs.postprocess(vector.view(-1, 64))
        yield compare_all(f"parameters: restored, {name}", restored, expected)


def all_checks(reference: Reference) -> Iterator[Check]:
    """Every check, in the order of the pipeline."""
    yield from parameter_checks(reference)
    for length, latent_dim in FAMILIES:
        yield from codec_checks(reference, length, latent_dim)
    yield from schedule_checks(reference)
    for latent_dim in sorted({latent_dim for _, latent_dim in FAMILIES}):
        yield from denoiser_checks(reference, latent_dim)


def main() -> int:
    """Print the table or the golden values.

    Returns:
        1 if a check failed, otherwise 0.
    """
    parser = argparse.ArgumentParser(description="Compare paramdiff with the authors' code.")
    parser.add_argument("--reference", type=Path, required=True, help="the authors' checkout")
    parser.add_argument("--golden", action="store_true", help="print the tests' golden values")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same bits wherever it runs, and no slower at these sizes
    try:
        reference = Reference(arguments.reference)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.golden:
        pprint(
            codec_numbers(TheirCodec(reference, LENGTH, LATENT_DIM)), sort_dicts=False, width=99
        )
        pprint(denoiser_numbers(TheirDenoiser(reference, LATENT_DIM)), sort_dicts=False, width=99)
        return 0
    table = Table(title="paramdiff against the authors' code", title_justify="left")
    table.add_column("check")
    for heading in ("max abs difference", "largest value", "tolerance", "verdict"):
        table.add_column(heading, justify="right")
    failed = False
    for check in all_checks(reference):
        numbers = [f"{x:.2g}" for x in (check.difference, check.scale, check.tolerance)]
        table.add_row(check.name, *numbers, check.verdict)
        if check.note:
            table.add_row(f"  {check.note}")
        failed |= check.verdict == "FAIL"
    Console().print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
