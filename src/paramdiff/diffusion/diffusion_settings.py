"""Settings of the denoiser, the forward process, the solver and the generation of networks."""

from typing import Literal

from pydantic import Field, field_validator

from paramdiff.diffusion.denoisers.registry import AnyDenoiserSettings
from paramdiff.errors import UserError
from paramdiff.settings import Seed, Settings
from paramdiff.training_settings import EarlyStopping, Optimization

SolverName = Literal["ddpm", "ddim", "dpmsolver++"]
Value = int | float | str
"""The value of a condition: a number, or a label."""
KNOWN_CONDITIONS = ("score", "step", "run")
"""Conditions that every zoo knows of its checkpoints; further ones are in their headers."""


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


class DiffusionSettings(Settings):
    """The denoiser, the forward process and how the denoiser is trained."""

    denoiser: AnyDenoiserSettings = Field(description="predicts schedule.prediction_type")
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="the forward process")
    latent_statistics: Literal["running", "batch"] = Field(
        "running",
        description="latents of each batch under its own statistics (the authors' code) or fixed",
    )
    standardize: bool = Field(
        description="shift and scale each latent dimension to mean 0 and standard deviation 1"
    )
    conditions: tuple[str, ...] = Field(
        (),
        description="what networks can be generated for: the validation score (score), the "
        "training step, the run, or a number or label in the headers of imported checkpoints",
    )
    condition_dropout: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="probability with which conditions are left out in training, so that the "
        "denoiser learns to do without them, too",
    )
    training: Optimization = Field(description="how the denoiser is trained")
    early_stopping: EarlyStopping | None = Field(
        None,
        description="validates the denoiser while it trains: the loss on held-out checkpoints, "
        "if there are any, decides when to stop and which weights to keep; the dispersion of "
        "samples is logged",
    )

    @field_validator("conditions")
    @classmethod
    def _conditions_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"these must differ, but are {list(names)}")
        return names


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
            f"generation.num_inference_steps: {num_inference_steps} is no divisor of T = "
            f"{num_timesteps}"
        )


class GenerationSettings(Settings):
    """Settings of generation."""

    num_samples: int = Field(200, gt=0, description="networks to generate per generator seed")
    seed: Seed = Field(0, description="seed of the first sample; the others count up from it")
    solver: SolverName = Field("ddpm", description="ancestral DDPM, DDIM or DPM-Solver++")
    num_inference_steps: int = Field(gt=0, description="denoiser evaluations per sample")
    temperature: float = Field(
        1.0, ge=0, description="scales latents about the training latents' mean; below 1 contracts"
    )
    condition: dict[str, Value] = Field(
        {}, description="condition to generate for: names of diffusion.conditions to values"
    )
    guidance_scale: float = Field(
        1.0,
        ge=0,
        description="classifier-free guidance: 0 ignores a condition, above 1 exaggerates it",
    )
    batch_size: int = Field(50, gt=0, description="samples per denoiser evaluation")
