"""Noise to latents: the reverse process, with one seed per sample.

Each sample owns a generator, so its noise is the same whatever batch it is in. Convolutions and
matrix products differ in the last bits between batch sizes; batches are therefore always padded to
one size, which makes a sample's bits independent of its companions.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn

from paramdiff.diffusion.diffusion_settings import SolverName, check_num_inference_steps
from paramdiff.diffusion.guidance import UNGUIDED, Guidance
from paramdiff.progress import Progress, ignore_progress


@dataclass(frozen=True)
class ReverseTrajectory:
    """The recorded states of a reverse process (paper Figure 5b).

    Attributes:
        timesteps: ``[S]``; the first is pure noise, the last is 0 for the finished sample.
        states: ``[S, B, ...]``.
    """

    timesteps: Tensor
    states: Tensor


def initial_noise(seeds: Sequence[int], latent_dim: int) -> tuple[Tensor, list[torch.Generator]]:
    """Standard normal latents ``[B, D]``, one generator per seed, and the advanced generators."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(latent_dim, generator=g) for g in generators]), generators


@torch.no_grad()
def sample_latents(
    denoiser: nn.Module,
    scheduler: SchedulerMixin,
    seeds: Sequence[int],
    *,
    latent_dim: int,
    num_inference_steps: int,
    batch_size: int,
    device: torch.device,
    guidance: Guidance = UNGUIDED,
    record: Callable[[int, Tensor], None] | None = None,
    progress: Progress = ignore_progress,
) -> Tensor:
    """Run the reverse process for every seed.

    Args:
        denoiser: in evaluation mode, on ``device``.
        scheduler: a diffusers scheduler.
        seeds: one per sample.
        latent_dim: ``D``.
        num_inference_steps: denoiser evaluations per sample.
        batch_size: samples per evaluation; the last batch is padded to it.
        device: where to compute.
        guidance: what samples are pulled towards.
        record: called with the timestep and the batch's states ``[B, D]``, before every step.
        progress: told denoiser evaluations done and in all, after every step of every batch.

    Returns:
        Latents ``[len(seeds), D]`` on the CPU.

    Raises:
        UserError: the solver cannot take this number of steps, or the guidance cannot be followed.
    """
    solver: SolverName = "dpmsolver++" if _is_dpm(scheduler) else "ddpm"
    check_num_inference_steps(solver, scheduler.config.num_train_timesteps, num_inference_steps)
    batches = []
    done, total = itertools.count(1), -(-len(seeds) // batch_size) * num_inference_steps
    for start in range(0, len(seeds), batch_size):
        wanted = list(seeds[start : start + batch_size])
        filled = wanted + [wanted[-1]] * (batch_size - len(wanted))
        x, generators = initial_noise(filled, latent_dim)
        x = x.to(device)
        scheduler.set_timesteps(num_inference_steps, device=device)
        for timestep in scheduler.timesteps:
            if record is not None:
                record(int(timestep), x[: len(wanted)])
            alpha_bar = scheduler.alphas_cumprod[int(timestep)].to(device)
            timesteps = timestep.expand(batch_size).to(device)
            predicted = guidance.predict(
                denoiser, x, timesteps, alpha_bar, filled, scheduler.config.prediction_type
            )
            kwargs = {} if _is_dpm(scheduler) else {"generator": generators}
            x = scheduler.step(predicted, timestep, x, return_dict=False, **kwargs)[0]
            progress(next(done), total)
        if record is not None:
            record(0, x[: len(wanted)])
        batches.append(x[: len(wanted)].cpu())
    return torch.cat(batches)


def record_trajectory(
    denoiser: nn.Module,
    scheduler: SchedulerMixin,
    seeds: Sequence[int],
    *,
    latent_dim: int,
    num_inference_steps: int,
    every: int,
    device: torch.device,
    guidance: Guidance = UNGUIDED,
) -> ReverseTrajectory:
    """Sample and keep every so many states.

    Args:
        denoiser: in evaluation mode, on ``device``.
        scheduler: a diffusers scheduler.
        seeds: one per sample.
        latent_dim: ``D``.
        num_inference_steps: denoiser evaluations per sample.
        every: keep one state in so many; the first and the last are always kept.
        device: where to compute.
        guidance: what samples are pulled towards.

    Returns:
        The states, pure noise first.
    """
    timesteps: list[int] = []
    states: list[Tensor] = []

    def keep(timestep: int, x: Tensor) -> None:
        timesteps.append(timestep)
        states.append(x.cpu().clone())

    sample_latents(
        denoiser,
        scheduler,
        seeds,
        latent_dim=latent_dim,
        num_inference_steps=num_inference_steps,
        batch_size=max(2, len(seeds)),
        device=device,
        guidance=guidance,
        record=keep,
    )
    kept = sorted({*range(0, len(states), every), len(states) - 1})
    return ReverseTrajectory(
        torch.tensor([timesteps[i] for i in kept]), torch.stack([states[i] for i in kept])
    )


def _is_dpm(scheduler: SchedulerMixin) -> bool:
    return scheduler.config.get("algorithm_type") == "dpmsolver++"
