"""Looks at a run's denoiser while it trains: the held-out loss, and the spread of its samples."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from paramdiff.codecs.base import Codec, encode_all
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.schedule import SolverName, build_scheduler
from paramdiff.diffusion.training import DiffusionSettings, held_out_loss
from paramdiff.early_stopping import Look, Watcher, best_look
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.metrics.diversity import (
    HIGHEST_DISPERSION,
    LOWEST_DISPERSION,
    relative_dispersion,
    total_variance,
)
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe import Recipe
from paramdiff.zoo.zoo import Zoo

NUM_SAMPLES = 64
MOST_STEPS = 50
"""Of the recipe's own solver. Another would not do: of a denoiser for 100 dimensions after 400
updates, ancestral samples spread 0.91 (50 steps) and 0.96 (1,000), those of an ODE solver 3.8."""
MOST_PARAMETERS = 2**20
"""Samples of longer vectors would cost more memory and time than the training that they watch."""


def build_watcher(
    recipe: Recipe,
    zoo: Zoo,
    space: ParameterSpace,
    codec: Codec,
    vectors: Tensor,
    conditions: Tensor,
    *,
    seed: int,
    device: torch.device,
    told: Callable[[str], None],
) -> Watcher | None:
    """What looks at the denoiser of a run.

    Args:
        recipe: the run's.
        zoo: its held-out checkpoints, where there are any, say when to stop.
        space: the run's normalization.
        codec: the run's.
        vectors: the originals' normalized vectors ``[N, length]``.
        conditions: of the held-out checkpoints, ``[H, C]``, as the denoiser reads them.
        seed: of the held-out loss's noise.
        device: where the denoiser trains.
        told: called with each spread, in words.

    Returns:
        The watcher; None where the recipe sets no early stopping.
    """
    settings = recipe.diffusion
    if settings is None or settings.early_stopping is None:
        return None
    # who predicts the velocity begins with the exact denoiser of standard normal latents
    is_gaussian = settings.schedule.prediction_type == "v_prediction" and settings.standardize
    watcher = Watcher(settings.early_stopping, at_start=is_gaussian)
    if len(zoo.held_out):
        latents = _latents(zoo, space, codec, settings)
        asked = conditions if settings.conditions else None
        loss = held_out_loss(latents, settings, seed=seed, device=device, conditions=asked)
        watcher = replace(watcher, held_out_loss=loss)
    # few solver steps shrink the spread of latents that are not standardized
    if not settings.standardize or space.num_parameters > MOST_PARAMETERS:
        return watcher
    spread = _spread(recipe, zoo, space, codec, vectors, device=device)

    def told_spread(denoiser: nn.Module) -> float | None:
        try:
            found = spread(denoiser)
        except NotFiniteError:  # of an early denoiser: training may yet mend it
            found = math.inf
        if found is not None:
            told(f"spread {found:.2f}" if math.isfinite(found) else "spread not finite")
        return found if found is not None and math.isfinite(found) else None

    return replace(watcher, spread=told_spread)


def spread_warning(looks: list[Look]) -> str | None:
    """What to tell where the denoiser that was kept spreads unlike the originals."""
    spread = best_look(looks).spread if looks else None
    if spread is None or LOWEST_DISPERSION <= spread <= HIGHEST_DISPERSION:
        return None
    return (
        f"samples of the trained denoiser spread {spread:.2f} times as widely as the checkpoints; "
        f"{LOWEST_DISPERSION} to {HIGHEST_DISPERSION} is usual: more updates "
        "(--set diffusion.training.num_steps=...) or more checkpoints may help"
    )


def few_steps(solver: SolverName, num_timesteps: int, num_inference_steps: int) -> int:
    """The most steps that a solver can take of ``T``, up to fifty and to those of generation."""
    most = min(MOST_STEPS, num_inference_steps)
    if solver == "dpmsolver++":
        return most
    return max(count for count in range(1, most + 1) if num_timesteps % count == 0)


def _latents(zoo: Zoo, space: ParameterSpace, codec: Codec, settings: DiffusionSettings) -> Tensor:
    """Held-out latents ``[H, D]`` in the coordinates that the denoiser learns."""
    if settings.latent_statistics == "running":
        blocks = zoo.held_out.split(8)  # long vectors are normalized a few at a time
        latents = torch.cat([encode_all(codec, space.normalize(block)) for block in blocks])
    else:
        vectors = space.normalize(zoo.held_out).to(codec.latent_mean.device)
        latents = codec.encode(vectors, "batch")
    return codec.standardize(latents) if settings.standardize else latents


def _spread(
    recipe: Recipe,
    zoo: Zoo,
    space: ParameterSpace,
    codec: Codec,
    vectors: Tensor,
    *,
    device: torch.device,
) -> Callable[[nn.Module], float | None]:
    """Dispersion of decoded samples, on values normalized per tensor whatever the codec sees."""
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

    def spread(denoiser: nn.Module) -> float | None:
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

    return spread
