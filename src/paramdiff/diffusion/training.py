"""Train a denoiser on latents (paper equation 6; the authors' ``model/diffusion.py``)."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.diffusion.conditioning import UNCONDITIONAL, Conditions
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.denoisers.registry import DENOISERS
from paramdiff.diffusion.diffusion_settings import DiffusionSettings
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.early_stopping import ValidationCallback
from paramdiff.processes import own_share
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.training_loop import TrainingResult, train

NUM_HELD_OUT_EXAMPLES = 512
"""Pairs of noise and timestep, at least, over which the held-out loss is averaged."""

LatentBatch = Callable[[int, torch.Generator], Tensor]
"""A number of examples and a generator to a batch of latents ``[B, D]``; where the denoiser has
conditions, these stand behind each latent as it reads them, ``[B, D + C]``."""


def build_denoiser(
    settings: DiffusionSettings, latent_dim: int, conditions: Conditions = UNCONDITIONAL
) -> Denoiser:
    """Build the untrained denoiser that the settings describe.

    For ``v_prediction`` it predicts zero: the exact denoiser of standard normal latents.
    """
    sizes = settings.denoiser
    denoiser = DENOISERS[sizes.kind].build(sizes, latent_dim, conditions)
    if settings.schedule.prediction_type == "v_prediction":
        denoiser.zero_output()
    return denoiser


def denoising_loss(
    denoiser: nn.Module,
    scheduler: SchedulerMixin,
    latents: Tensor,
    timesteps: Tensor,
    eps: Tensor,
    *conditions: Tensor,
) -> Tensor:
    """Equation 6: mean squared error of the predicted noise, or velocity.

    Args:
        denoiser: noisy latents, timesteps and conditions to what the scheduler's
            ``prediction_type`` names.
        scheduler: the forward process (equation 2).
        latents: clean latents ``[B, D]``.
        timesteps: ``[B]`` in ``0 .. T - 1``.
        eps: standard normal noise ``[B, D]``.
        *conditions: ``[B, C]``, as the denoiser reads them; none for one without.

    Returns:
        A scalar.
    """
    noisy = scheduler.add_noise(latents, eps, timesteps)
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, eps, timesteps) if is_velocity else eps
    return F.mse_loss(denoiser(noisy, timesteps, *conditions), target)


def held_out_loss(
    latents: Tensor,
    settings: DiffusionSettings,
    *,
    seed: int,
    device: torch.device,
    conditions: Tensor | None = None,
) -> Callable[[nn.Module], float]:
    """Build the denoising loss on latents that train nothing, with the same noise at every call.

    Args:
        latents: clean latents ``[H, D]`` of held-out checkpoints.
        settings: the forward process.
        seed: of the noise; timesteps are spread evenly over the forward process.
        device: where to compute.
        conditions: ``[H, C]``, as the denoiser reads them.

    Returns:
        A function of the denoiser.
    """
    scheduler, num_timesteps = build_scheduler(settings.schedule), settings.schedule.num_timesteps
    size = max(NUM_HELD_OUT_EXAMPLES, len(latents))
    generator = seeded_generator(seed, "held out")
    timesteps = torch.randperm(size, generator=generator) * num_timesteps // size
    eps = torch.randn(size, latents.shape[1], generator=generator).to(device)
    rows = torch.arange(size) % len(latents)
    repeated = [one[rows].to(device) for one in (latents, conditions) if one is not None]

    def loss(denoiser: nn.Module) -> float:
        return float(
            denoising_loss(
                denoiser, scheduler, repeated[0], timesteps.to(device), eps, *repeated[1:]
            )
        )

    return loss


def train_denoiser(
    latent_batch: LatentBatch,
    latent_dim: int,
    settings: DiffusionSettings,
    *,
    seed: int,
    device: torch.device,
    conditions: Conditions = UNCONDITIONAL,
    state_file: Path | None = None,
    progress: Progress = ignore_progress,
    validation: ValidationCallback | None = None,
) -> tuple[Denoiser, TrainingResult]:
    """Train a denoiser.

    Args:
        latent_batch: where batches of clean latents come from.
        latent_dim: ``D``.
        settings: denoiser, forward process and optimization.
        seed: of the initial weights, the batches and the noise.
        device: where to train.
        conditions: what the denoiser can be asked for.
        state_file: see ``training_loop.train``.
        progress: see ``training_loop.train``.
        validation: see ``training_loop.train``.

    Returns:
        The denoiser in evaluation mode, its losses and its validations.

    Raises:
        UserError: the processes cannot share a batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = build_denoiser(settings, latent_dim, conditions)
    scheduler = build_scheduler(settings.schedule)
    size = settings.training.batch_size
    share = own_share(size, device, "diffusion.training.batch_size")

    def batch_loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        drawn = latent_batch(size, generator)  # the whole batch: it may have statistics
        latents, asked = drawn.split([latent_dim, conditions.size], dim=1)
        timesteps = torch.randint(settings.schedule.num_timesteps, (size,), generator=generator)
        eps = torch.randn(latents.shape, generator=generator)
        parts = [latents, timesteps, eps]
        if conditions.known:
            parts.append(conditions.left_out(asked, settings.condition_dropout, generator))
        return denoising_loss(module, scheduler, *(part[share].to(device) for part in parts))

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
        validation=validation,
    )
    return denoiser, result
