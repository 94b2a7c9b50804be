"""Train a denoiser on latents (paper equation 6; method.md 2.5)."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import torch
from diffusers import SchedulerMixin
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.component import Component
from paramdiff.diffusion.convolutional import CHANNELS, KERNEL_SIZE, ConvolutionalDenoiser
from paramdiff.diffusion.mlp import MLPDenoiser
from paramdiff.diffusion.schedule import ScheduleSettings, build_scheduler
from paramdiff.engine import Optimisation, Progress, TrainingResult, train
from paramdiff.processes import own_share
from paramdiff.settings import Settings

LatentBatch = Callable[[int, torch.Generator], Tensor]
"""A number of examples and a generator to a batch of latents ``[B, D]``."""


class ConvolutionalDenoiserSettings(Settings):
    """The paper's denoiser."""

    kind: Literal["convolutional"]
    channels: tuple[int, ...] = Field(CHANNELS, description="channels of all but the last layer")
    kernel_size: int = Field(KERNEL_SIZE, gt=0, description="of every convolution; odd")


class MLPDenoiserSettings(Settings):
    """A residual multilayer perceptron."""

    kind: Literal["mlp"]
    width: int = Field(128, gt=0, description="of the hidden layers")
    depth: int = Field(3, gt=0, description="number of residual blocks")


DenoiserSettings = Annotated[
    ConvolutionalDenoiserSettings | MLPDenoiserSettings, Field(discriminator="kind")
]


class DiffusionSettings(Settings):
    """The denoiser, the forward process and how the denoiser is trained."""

    denoiser: DenoiserSettings = Field(description="the noise predictor")
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="the forward process")
    latent_statistics: Literal["running", "batch"] = Field(
        "running",
        description="latents of each batch under its own statistics (the authors' code) or fixed",
    )
    standardise: bool = Field(
        description="shift and scale each latent dimension to mean 0 and standard deviation 1"
    )
    training: Optimisation = Field(description="how the denoiser is trained")


def build_denoiser(settings: DiffusionSettings, latent_dim: int) -> Component:
    """The untrained denoiser that the settings describe."""
    options = settings.denoiser.model_dump(exclude={"kind"})
    if settings.denoiser.kind == "mlp":
        return MLPDenoiser(latent_dim=latent_dim, **options)
    return ConvolutionalDenoiser(latent_dim=latent_dim, **options)


def noise_prediction_loss(
    denoiser: nn.Module, scheduler: SchedulerMixin, latents: Tensor, timesteps: Tensor, eps: Tensor
) -> Tensor:
    """Equation 6: mean squared error of the predicted noise.

    Args:
        denoiser: noisy latents and timesteps to predicted noise.
        scheduler: the forward process (equation 2).
        latents: clean latents ``[B, D]``.
        timesteps: ``[B]`` in ``0 .. T - 1``.
        eps: standard normal noise ``[B, D]``.

    Returns:
        A scalar.
    """
    noisy = scheduler.add_noise(latents, eps, timesteps)
    return F.mse_loss(denoiser(noisy, timesteps), eps)


def train_denoiser(
    latent_batch: LatentBatch,
    latent_dim: int,
    settings: DiffusionSettings,
    *,
    seed: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Component, TrainingResult]:
    """Train a denoiser.

    Args:
        latent_batch: where batches of clean latents come from.
        latent_dim: ``D``.
        settings: denoiser, forward process and optimisation.
        seed: of the initial weights, the batches and the noise.
        device: where to train.
        state_file: see ``engine.train``.
        progress: see ``engine.train``.

    Returns:
        The denoiser in evaluation mode, and its losses.

    Raises:
        UserError: the processes cannot share a batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = build_denoiser(settings, latent_dim)
    scheduler = build_scheduler(settings.schedule)
    size = settings.training.batch_size
    share = own_share(size, device, "diffusion.training.batch_size")

    def batch_loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        latents = latent_batch(size, generator)  # the whole batch: it may have statistics
        timesteps = torch.randint(settings.schedule.num_timesteps, (size,), generator=generator)
        eps = torch.randn(latents.shape, generator=generator)
        return noise_prediction_loss(
            module,
            scheduler,
            latents[share].to(device),
            timesteps[share].to(device),
            eps[share].to(device),
        )

    denoiser.train()
    result = train(
        denoiser,
        batch_loss,
        settings.training,
        seed=seed,
        device=device,
        is_shared=True,
        state_file=state_file,
        progress=progress,
    )
    return denoiser, result
