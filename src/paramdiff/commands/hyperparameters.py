"""Hyperparameters that ``fit`` chooses: codec, denoiser, updates and batch, with reasons.

Sizes follow from the numbers of checkpoints and parameters. With a time budget, updates
are timed on this machine for a moment and the budget becomes a number of updates, once: a folder
that has a recipe keeps the numbers in it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paramdiff.device import resolve_device
from paramdiff.diffusion.diffusion_settings import DiffusionSettings
from paramdiff.diffusion.sampling import sample_latents
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import train_denoiser
from paramdiff.processes import refuse_several
from paramdiff.random import seeded_generator
from paramdiff.recipe.loading import read_preset
from paramdiff.runs.folder import RunFolder

COUNTED = ("diffusion.training.num_steps", "diffusion.early_stopping.every")
"""Fields that a time budget decides."""
LABELS = {"codec": "Codec", "diffusion.denoiser": "Denoiser", "diffusion.training": "Updates"}
NUM_LOOKS = 30
"""At the denoiser in training; the patience is a third of it, however long training is."""
FEWEST_UPDATES, MOST_UPDATES = 300, 30_000
LARGEST_TIMED = 512
"""The zoo decides the latent's size; timed is the largest it can have, up to this."""
TIMED_UPDATES = 20
TIMED_EVALUATIONS = 20
LOOKS_IN_EVALUATIONS = 65
"""Cost of one validation: solver steps, decoding and the held-out loss."""


@dataclass(frozen=True)
class Configuration:
    """Chosen hyperparameters.

    Attributes:
        content: keys and values of a recipe.
        reasons: field of ``LABELS`` to the choice and its reason.
    """

    content: dict[str, Any]
    reasons: dict[str, str]

    def facts(self, changes: dict[str, Any]) -> dict[str, str]:
        """Return label to reason of the choices that the user's own values do not replace."""
        return {
            LABELS[field]: why
            for field, why in self.reasons.items()
            if not _is_set(changes, field)
        }


@dataclass(frozen=True)
class Pace:
    """Seconds on this machine, for one update and for one evaluation in generation."""

    update: float
    evaluation: float


def configure(
    num_originals: int,
    num_held_out: int,
    num_parameters: int,
    *,
    num_samples: int,
    time_budget: float | None,
    out: Path,
    device: str,
) -> Configuration:
    """Choose sizes and updates.

    Args:
        num_originals: checkpoints to learn from.
        num_held_out: checkpoints that say when to stop.
        num_parameters: ``P``.
        num_samples: networks to generate.
        time_budget: minutes for training the denoiser and generating; None is as long as the
            default takes.
        out: the run's folder; where it has a recipe, that has the number of updates.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The choices with their reasons.
    """
    preset = read_preset("default")
    training, share = preset["diffusion"]["training"], preset["codec"]["explained_variance"]
    largest = max(1, min(num_originals - 1, num_parameters))
    updates, why = training["num_steps"], "as many as the default preset was measured with"
    earlier = every = None
    if time_budget is not None:
        earlier, every = (RunFolder(out).value(field) for field in COUNTED)
    if isinstance(earlier, int):
        updates, why = earlier, f"as {out / 'recipe.yaml'} counts them"
    elif time_budget is not None:
        target = resolve_device(device)
        refuse_several(target, "--time-budget")  # each would measure another pace
        pace = measure_pace(min(largest, LARGEST_TIMED), num_samples, target)
        evaluations = preset["generation"]["num_inference_steps"] * -(-num_samples // 50)
        most = MOST_UPDATES if num_held_out else updates
        updates = affordable_updates(60 * time_budget, pace, evaluations, most)
        why = f"{1000 * pace.update:.1f} ms each, for {time_budget:g} min with generating"
        if updates == most and not num_held_out:
            why = "no more, because nothing is held out to stop by"
        if updates == FEWEST_UPDATES:
            why += "; fewer would learn nothing"
    stop = " at most" if num_held_out else ""
    return Configuration(
        {
            "diffusion": {
                "denoiser": {"width": None},
                "training": {"num_steps": updates},
                "early_stopping": {"every": every or max(1, updates // NUM_LOOKS)},
            }
        },
        {
            "codec": f"principal components that hold {share:.0%} of the variance, of at most "
            f"{largest:,}; the rest comes back as noise",
            "diffusion.denoiser": "twice as wide as the latent, at least 128: a narrow one cannot "
            "pass it on",
            "diffusion.training": f"{updates:,}{stop}, of {training['batch_size']} latents: {why}",
        },
    )


def _is_set(changes: Any, field: str) -> bool:
    """Return True if nested values hold a dotted field, or a value above it."""
    for key in field.split("."):
        if not isinstance(changes, dict):
            return True
        if key not in changes:
            return False
        changes = changes[key]
    return True


def measure_pace(latent_dim: int, num_samples: int, device: torch.device) -> Pace:
    """Train and sample for a moment.

    Args:
        latent_dim: ``D``.
        num_samples: networks that will be generated.
        device: device of the computation.

    Returns:
        The seconds.
    """
    preset = read_preset("default")["diffusion"]
    size = preset["training"]["batch_size"]
    latents = torch.randn(size, latent_dim, generator=seeded_generator("pace"))

    def trained(num_steps: int) -> tuple[Any, float]:
        settings = DiffusionSettings.model_validate(
            preset
            | {"denoiser": {"kind": "mlp", "width": None}}
            | {"training": preset["training"] | {"num_steps": num_steps}}
        )
        denoiser, result = train_denoiser(
            lambda _size, _generator: latents, latent_dim, settings, seed=0, device=device
        )
        return denoiser, result.seconds

    trained(2)  # the first updates also load what they need
    denoiser, seconds = trained(TIMED_UPDATES)
    batch = min(num_samples, 50)
    started = time.monotonic()
    sample_latents(
        denoiser.to(device),
        build_scheduler(DiffusionSettings.model_validate(preset).schedule, "dpmsolver++"),
        range(batch),
        latent_dim=latent_dim,
        num_inference_steps=TIMED_EVALUATIONS,
        batch_size=batch,
        device=device,
    )
    return Pace(seconds / TIMED_UPDATES, (time.monotonic() - started) / TIMED_EVALUATIONS)


def affordable_updates(seconds: float, pace: Pace, evaluations: int, most: int) -> int:
    """Return the updates that a time budget leaves beside generation and validation.

    Args:
        seconds: the budget.
        pace: seconds on this machine.
        evaluations: denoiser evaluations in generation.
        most: upper bound.

    Returns:
        Between ``FEWEST_UPDATES`` and ``most``.
    """
    evaluations += NUM_LOOKS * LOOKS_IN_EVALUATIONS
    left = (seconds - evaluations * pace.evaluation) / pace.update
    return max(FEWEST_UPDATES, min(most, int(left)))
