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

SolverName = Literal["ddpm", "ddim", "dpmsolver++"]


class ScheduleSettings(Settings):
    """The forward process of equation 1, and what the denoiser predicts of it."""

    num_timesteps: int = Field(1000, gt=1, description="T")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="variance added at the first timestep")
    beta_end: float = Field(2e-2, gt=0, lt=1, description="variance added at the last timestep")
    prediction_type: Literal["epsilon", "v_prediction"] = Field(
        "epsilon",
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
            (deterministic); ``dpmsolver++`` for the second-order DPM-Solver++.

    Returns:
        The scheduler; nothing is clipped.
    """
    common = {
        "num_train_timesteps": settings.num_timesteps,
        "beta_start": settings.beta_start,
        "beta_end": settings.beta_end,
        "beta_schedule": "linear",
        "prediction_type": settings.prediction_type,
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


def check_num_inference_steps(
    solver: SolverName, num_timesteps: int, num_inference_steps: int
) -> None:
    """Refuse step counts for which diffusers' timestep spacing is not what it should be.

    DDPM and DDIM start too low or step unevenly where the count does not divide T. DPM-Solver++ is
    for fewer steps; schedulers that were saved with even steps in time return NaN at T.

    Args:
        solver: see ``build_scheduler``.
        num_timesteps: T.
        num_inference_steps: denoiser evaluations per sample.

    Raises:
        UserError: the solver cannot take this number of steps.
    """
    if solver == "dpmsolver++" and not 1 <= num_inference_steps < num_timesteps:
        raise UserError(
            f"generation.num_inference_steps: dpmsolver++ takes fewer than T = {num_timesteps}, "
            f"found {num_inference_steps}"
        )
    if solver != "dpmsolver++" and (
        num_inference_steps < 1 or num_timesteps % num_inference_steps
    ):
        raise UserError(
            f"generation.num_inference_steps: expected a divisor of T = {num_timesteps}, "
            f"found {num_inference_steps}"
        )
