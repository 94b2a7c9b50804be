"""Noise schedules and solvers: diffusers' schedulers with the paper's constants.

The constants are those of the authors' ``model/diffusion.py``.
Training adds noise with the same linear schedule whatever the solver, so the solver and its number
of steps can be chosen after training.
"""

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
)

from paramdiff.diffusion.diffusion_settings import ScheduleSettings, SolverName


def build_scheduler(settings: ScheduleSettings, solver: SolverName = "ddpm") -> SchedulerMixin:
    """Build a diffusers scheduler.

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
