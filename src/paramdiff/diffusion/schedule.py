"""Noise schedules and solvers: diffusers' schedulers with the paper's constants.

The constants are those of the authors' ``model/diffusion.py``.
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

from paramdiff.errors import UserError
from paramdiff.settings import Settings

SolverName = Literal["ddpm", "ddim", "dpm"]

PREDICTION_TYPES = {"noise": "epsilon", "velocity": "v_prediction"}
"""What a denoiser predicts, in diffusers' words."""


class ScheduleSettings(Settings):
    """The forward process of equation 1, and what the denoiser predicts of it."""

    num_timesteps: int = Field(1000, gt=1, description="T")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="variance added at the first timestep")
    beta_end: float = Field(2e-2, gt=0, lt=1, description="variance added at the last timestep")
    target: Literal["noise", "velocity"] = Field(
        "noise",
        description="what the denoiser predicts: the noise, as published, or the velocity "
        "sqrt(a) noise - sqrt(1 - a) latent (Salimans and Ho 2022), which is zero on average for "
        "standard normal latents: training starts there, and samples are Gaussian until the "
        "denoiser has learned more",
    )


def build_scheduler(settings: ScheduleSettings, solver: SolverName = "ddpm") -> SchedulerMixin:
    """A diffusers scheduler.

    Args:
        settings: the forward process.
        solver: ``ddpm`` for ancestral sampling with the posterior variance, as published; ``ddim``
            (deterministic); ``dpm`` for the second-order DPM-Solver++.

    Returns:
        The scheduler; nothing is clipped.
    """
    common = {
        "num_train_timesteps": settings.num_timesteps,
        "beta_start": settings.beta_start,
        "beta_end": settings.beta_end,
        "beta_schedule": "linear",
        "prediction_type": PREDICTION_TYPES[settings.target],
    }
    if solver == "ddpm":
        return DDPMScheduler(clip_sample=False, variance_type="fixed_small", **common)
    if solver == "ddim":
        return DDIMScheduler(
            clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing", **common
        )
    return DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        use_lu_lambdas=True,  # even steps in log SNR; in time they shrink latents of small spread
        final_sigmas_type="zero",
        **common,
    )


def check_num_steps(solver: SolverName, num_timesteps: int, num_steps: int) -> None:
    """Refuse step counts for which diffusers' timestep spacing is not what it should be.

    DDPM and DDIM start too low or step unevenly where the count does not divide T. DPM-Solver++ is
    for fewer steps; schedulers that were saved with even steps in time return NaN at T.

    Args:
        solver: see ``build_scheduler``.
        num_timesteps: T.
        num_steps: denoiser evaluations per sample.

    Raises:
        UserError: the solver cannot take this number of steps.
    """
    if solver == "dpm" and not 1 <= num_steps < num_timesteps:
        raise UserError(
            f"generation.num_steps: dpm takes fewer than T = {num_timesteps}, found {num_steps}"
        )
    if solver != "dpm" and (num_steps < 1 or num_timesteps % num_steps):
        raise UserError(
            f"generation.num_steps: expected a divisor of T = {num_timesteps}, found {num_steps}"
        )
