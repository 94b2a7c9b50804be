"""An estimate of what a recipe costs, in floating-point operations, without running anything.

Forward passes are counted by torch's ``FlopCounterMode`` on the meta device (a multiplication and
an addition are two operations; normalization and activations are not counted). A backward pass
costs twice its forward pass. MetaModels whose size the zoo decides (principal components and what
learns them) are small beside the rest and are left out.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from paramdiff.evaluation.baselines import NUM_REESTIMATED_PILOTS
from paramdiff.evaluation.evaluate_groups import (
    NETWORKS_SCORED,
    STRENGTHS_PILOTED,
    expected_pilots,
)
from paramdiff.evaluation.finetuning_curves import UPDATES
from paramdiff.evaluation.group_evaluator import NUM_FINETUNED
from paramdiff.methods.data_matched_training import NUM_CHOOSING, NUM_ORDERS, NUM_ORIGINALS
from paramdiff.methods.finetuning import BATCH_SIZE, LEARNING_RATES
from paramdiff.methods.registry import groups_in
from paramdiff.recipe.description import data_budget
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.meta_models import MetaModels
from paramdiff.runs.predictors import NUM_RECALIBRATION_INPUTS
from paramdiff.scoring.batchnorm import statistics_of
from paramdiff.scoring.split import cut
from paramdiff.tasks.base import TaskDescription
from paramdiff.training_settings import Optimization
from paramdiff.zoo.plan import plan_of
from paramdiff.zoo.zoo_settings import CollectionSettings

PFLOP = 1e15
TRAINING = 3
"""Forward passes that one update of a network costs."""


@torch.no_grad()
def estimate_cost(
    recipe: Recipe, description: TaskDescription, parts: MetaModels
) -> dict[str, float]:
    """Count the operations of every stage.

    Args:
        recipe: what would be run; its checkpoints are collected by training.
        description: sizes of the task's data, which is a classification task.
        parts: the recipe's, the network among them.

    Returns:
        Stage to floating-point operations.
    """
    assert isinstance(recipe.collection, CollectionSettings) and parts.network is not None
    assert description.input_shape is not None
    example = torch.empty(2, *description.input_shape, device="meta")
    whole = _operations(parts.network, example)
    halves = cut(parts.network, parts.layout.names, example)
    prefix = _operations(halves.prefix, example)
    suffix = _operations(halves.suffix, *halves.prefix(example))
    stages = _collection(recipe.collection, description, whole, prefix, suffix)
    stages |= _generator(recipe, parts, suffix)
    shared = prefix * (description.num_validation + description.num_test)
    passes = _passes_of_scores(recipe, description) + _passes_of_comparisons(recipe)
    stages["evaluation"] = shared + suffix * passes
    if set(statistics_of(parts.network)) & set(parts.layout.names):
        stages["evaluation"] += _reestimation(recipe, description, whole, suffix)
    return stages


def _collection(
    settings: CollectionSettings,
    description: TaskDescription,
    whole: float,
    prefix: float,
    suffix: float,
) -> dict[str, float]:
    """Pre-training and fine-tuning; frozen layers in front of the selection run forward only."""
    pretrainings = settings.num_runs if settings.independent_runs else 1
    plan = plan_of(settings, description.num_train)
    updates = sum(run.steps[-1] for run in plan.runs if run.steps)
    tuned = updates * settings.fine_tuning.batch_size * (prefix + TRAINING * suffix)
    if settings.pretraining is None:
        return {"collection": tuned}
    passed = TRAINING * description.num_train + description.num_validation
    trained = pretrainings * settings.pretraining.epochs * passed * whole
    return {"pre-training": trained, "collection": tuned}


def _generator(recipe: Recipe, parts: MetaModels, suffix: float) -> dict[str, float]:
    """Codec and denoiser: their training and their use."""
    budget = data_budget(recipe)
    if budget is not None:
        return {"codec": len(recipe.generator_seeds) * TRAINING * suffix * budget.images_seen}
    if parts.codec is None:
        return {}
    vectors = torch.empty(2, parts.codec.length, device="meta")
    encoding = _operations(parts.codec.encode, vectors)
    decoding = _operations(parts.codec.decode, parts.codec.encode(vectors))
    generation, diffusion = recipe.generation, recipe.diffusion
    stages = {"codec": TRAINING * (encoding + decoding) * recipe.codec.num_training_vectors}
    sample = decoding
    if parts.denoiser is not None and diffusion is not None:
        latents = torch.empty(2, parts.codec.latent_dim, device="meta")
        timesteps = torch.zeros(2, dtype=torch.int64, device="meta")
        step = _operations(parts.denoiser, latents, timesteps)
        encoded = encoding if diffusion.latent_statistics == "batch" else 0.0
        stages["denoiser"] = (TRAINING * step + encoded) * _examples(diffusion.training)
        sample += generation.num_inference_steps * step
    stages |= {"generation": generation.num_samples * sample}
    return {
        stage: len(recipe.generator_seeds) * operations for stage, operations in stages.items()
    }


def _passes_of_scores(recipe: Recipe, description: TaskDescription) -> int:
    """Forward passes of single examples that scoring and the search for strengths cost, about."""
    assert isinstance(recipe.collection, CollectionSettings)
    originals, held_out = recipe.collection.num_checkpoints, recipe.collection.num_held_out
    generated = _num_generated(recipe)
    scored = 2 * originals + held_out + NETWORKS_SCORED * generated
    passes = scored * (description.num_validation + description.num_test)
    return passes + expected_pilots(generated) * description.num_validation


def _reestimation(
    recipe: Recipe, description: TaskDescription, whole: float, suffix: float
) -> float:
    """Operations of the baselines whose BatchNorm statistics are estimated anew, about."""
    count = min(_num_generated(recipe), recipe.evaluation.num_reestimated)
    scored = NETWORKS_SCORED * count
    pilots = STRENGTHS_PILOTED * min(count, NUM_REESTIMATED_PILOTS)
    inputs = min(description.num_train, NUM_RECALIBRATION_INPUTS)
    passes = scored * (description.num_validation + description.num_test)
    passes += pilots * description.num_validation
    return (scored + pilots) * inputs * whole + passes * suffix


def _num_generated(recipe: Recipe) -> int:
    return len(recipe.generator_seeds) * recipe.generation.num_samples


def _passes_of_comparisons(recipe: Recipe) -> float:
    """Forward passes of single examples that training for comparison costs in an evaluation."""
    passes, budget, rates = 0.0, data_budget(recipe), len(LEARNING_RATES)
    if budget is not None:  # some at each rate, at least; all at the best
        update = TRAINING + (budget.uses == "inputs")  # without labels a teacher answers first
        choosing = (rates - 1) * NUM_CHOOSING
        trainings = choosing + NUM_ORDERS + choosing / NUM_ORIGINALS + 1
        passes += update * budget.images_seen * trainings
    if recipe.evaluation.finetuning_curves:
        networks = (
            NUM_FINETUNED * (len(groups_in("fine-tuning curves")) - 1) + 1
        )  # of the average there is one
        passes += TRAINING * rates * networks * UPDATES[-1] * BATCH_SIZE
    return passes


def _examples(training: Optimization) -> int:
    return training.num_updates * training.batch_size


def _operations(function: Callable[..., Any], *inputs: Tensor) -> float:
    """Operations per example of a function of two."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops() / 2
