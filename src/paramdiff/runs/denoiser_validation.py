"""Validation of a denoiser while it trains: held-out loss and dispersion of its samples."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from paramdiff.codecs.base import Codec, encode_all
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.diffusion_settings import DiffusionSettings, SolverName
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import held_out_loss
from paramdiff.early_stopping import ValidationCallback, ValidationRecord, best_record
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.metrics.diversity import (
    HIGHEST_DISPERSION,
    LOWEST_DISPERSION,
    relative_dispersion,
    total_variance,
)
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import Recipe
from paramdiff.zoo.zoo import Zoo

NUM_SAMPLES = 64
MOST_STEPS = 50
"""Steps of the recipe's own solver. Another would not do: for a denoiser of 100 dimensions after
400 updates, the dispersion of ancestral samples is 0.91 (50 steps) and 0.96 (1,000), with an
ODE solver 3.8."""
MOST_PARAMETERS = 2**20
"""Samples of longer vectors would cost more memory and time than the training itself."""


def build_validation(
    recipe: Recipe,
    zoo: Zoo,
    space: ParameterSpace,
    codec: Codec,
    vectors: Tensor,
    conditions: Tensor,
    *,
    seed: int,
    device: torch.device,
    note: Callable[[str], None],
) -> ValidationCallback | None:
    """Build the validation of a run's denoiser.

    Args:
        recipe: the run's.
        zoo: its held-out checkpoints, if there are any, decide when to stop.
        space: the run's normalization.
        codec: the run's.
        vectors: the originals' normalized vectors ``[N, length]``.
        conditions: of the held-out checkpoints, ``[H, C]``, as the denoiser reads them.
        seed: of the held-out loss's noise.
        device: where the denoiser trains.
        note: called with each dispersion, as text.

    Returns:
        The callback; None if the recipe sets no early stopping.
    """
    settings = recipe.diffusion
    if settings is None or settings.early_stopping is None:
        return None
    # a denoiser that predicts the velocity begins as the exact denoiser of standard normal latents
    is_gaussian = settings.schedule.prediction_type == "v_prediction" and settings.standardize
    validation = ValidationCallback(settings.early_stopping, at_start=is_gaussian)
    if len(zoo.held_out):
        latents = _latents(zoo, space, codec, settings)
        known = conditions if settings.conditions else None
        loss = held_out_loss(latents, settings, seed=seed, device=device, conditions=known)
        validation = replace(validation, held_out_loss=loss)
    # few solver steps shrink the dispersion of latents that are not standardized
    if not settings.standardize or space.num_parameters > MOST_PARAMETERS:
        return validation
    dispersion = _dispersion(recipe, zoo, space, codec, vectors, device=device)

    def noted_dispersion(denoiser: nn.Module) -> float | None:
        try:
            found = dispersion(denoiser)
        except NotFiniteError:  # of an early denoiser: training may yet mend it
            found = math.inf
        if found is not None:
            note(f"dispersion {found:.2f}" if math.isfinite(found) else "dispersion not finite")
        return found if found is not None and math.isfinite(found) else None

    return replace(validation, dispersion=noted_dispersion)


def dispersion_warning(records: list[ValidationRecord]) -> str | None:
    """Return a warning if the dispersion of the kept denoiser's samples is unusual, else None."""
    dispersion = best_record(records).dispersion if records else None
    if dispersion is None or LOWEST_DISPERSION <= dispersion <= HIGHEST_DISPERSION:
        return None
    return (
        f"samples of the trained denoiser have a dispersion of {dispersion:.2f} times that of the "
        f"checkpoints ({LOWEST_DISPERSION} to {HIGHEST_DISPERSION} is usual): more updates "
        "(--set diffusion.training.num_steps=...) or more checkpoints may help"
    )


def few_steps(solver: SolverName, num_timesteps: int, num_inference_steps: int) -> int:
    """Return the most steps that a solver can take of ``T``: fifty, and those of generation."""
    most = min(MOST_STEPS, num_inference_steps)
    if solver == "dpmsolver++":
        return most
    return max(count for count in range(1, most + 1) if num_timesteps % count == 0)


def _latents(zoo: Zoo, space: ParameterSpace, codec: Codec, settings: DiffusionSettings) -> Tensor:
    """Encode held-out checkpoints ``[H, L]`` in the coordinates that the denoiser learns."""
    if settings.latent_statistics == "running":
        blocks = zoo.held_out.split(8)  # long vectors are normalized a few at a time
        latents = torch.cat([encode_all(codec, space.normalize(block)) for block in blocks])
    else:
        vectors = space.normalize(zoo.held_out).to(codec.latent_mean.device)
        latents = codec.encode(vectors, "batch")
    return codec.standardize(latents) if settings.standardize else latents


def _dispersion(
    recipe: Recipe,
    zoo: Zoo,
    space: ParameterSpace,
    codec: Codec,
    vectors: Tensor,
    *,
    device: torch.device,
) -> Callable[[nn.Module], float | None]:
    """Build the dispersion of decoded samples, on values normalized per tensor."""
    assert recipe.diffusion is not None
    schedule, solver = recipe.diffusion.schedule, recipe.generation.solver
    scheduler = build_scheduler(schedule, solver)
    num_inference_steps = few_steps(
        solver, schedule.num_timesteps, recipe.generation.num_inference_steps
    )
    per_tensor = space
    if recipe.parameters.normalization == "coordinate":
        per_tensor = ParameterSpace.fit(zoo.originals, zoo.layout, {}, "centered")
        vectors = per_tensor.normalize(zoo.originals)
    reference = total_variance(vectors)

    def dispersion(denoiser: nn.Module) -> float | None:
        assert isinstance(denoiser, Denoiser)
        pipeline = ParameterDiffusionPipeline(
            space,
            codec,
            denoiser,
            scheduler,
            statistics=recipe.codec.decoding_statistics,
            standardize=True,
        ).to(device)
        samples = pipeline(
            range(NUM_SAMPLES), num_inference_steps=num_inference_steps, batch_size=NUM_SAMPLES
        )
        return relative_dispersion(per_tensor.normalize(samples.vectors).cpu(), reference)

    return dispersion
