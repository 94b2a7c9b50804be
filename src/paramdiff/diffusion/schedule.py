"""Noise schedules and solvers: diffusers' schedulers with the paper's constants (method.md 2.5).

Training adds noise with the same linear schedule whatever the solver, so the solver and its number
of steps can be chosen after training.
"""

from typing import Literal

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
)
from pydantic import Field

from paramdiff.settings import Settings

SolverName = Literal["ddpm", "ddim", "dpm"]


class ScheduleSettings(Settings):
    """The forward process of equation 1."""

    num_timesteps: int = Field(1000, gt=1, description="T")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="variance added at the first timestep")
    beta_end: float = Field(2e-2, gt=0, lt=1, description="variance added at the last timestep")


def build_scheduler(settings: ScheduleSettings, solver: SolverName = "ddpm") -> SchedulerMixin:
    """A diffusers scheduler.

    Args:
        settings: the forward process.
        solver: ``ddpm`` for ancestral sampling with the posterior variance, as published; ``ddim``
            (deterministic); ``dpm`` for the second-order DPM-Solver++.

    Returns:
        The scheduler; nothing is clipped, the target is the noise.
    """
    common = {
        "num_train_timesteps": settings.num_timesteps,
        "beta_start": settings.beta_start,
        "beta_end": settings.beta_end,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
    }
    if solver == "ddpm":
        return DDPMScheduler(clip_sample=False, variance_type="fixed_small", **common)
    if solver == "ddim":
        return DDIMScheduler(
            clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing", **common
        )
    return DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        timestep_spacing="linspace",
        final_sigmas_type="zero",
        **common,
    )
