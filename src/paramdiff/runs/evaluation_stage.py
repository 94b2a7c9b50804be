"""The evaluation stage: generated networks to ``evaluation.json`` and its arrays."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.codecs.base import decode_all, encode_all
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.inputs import EvaluationInputs, LatentSpace
from paramdiff.evaluation.parameter_traces import reverse_traces, training_traces
from paramdiff.evaluation.predictor import Predictor
from paramdiff.evaluation.schema import Cost
from paramdiff.model_cards.provenance import Origin
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.description import data_budget, recipe_facts
from paramdiff.runs.alignment_stage import alignment_facts, known_symmetries
from paramdiff.runs.controllability import measure_controllability
from paramdiff.runs.prediction_cache import PredictionCache, cache_folder
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.runs.ray_jobs import distributed
from paramdiff.runs.run_cards import write_cards
from paramdiff.runs.run_context import RunContext
from paramdiff.runs.stage_log import total_costs
from paramdiff.tasks.base import Task
from paramdiff.zoo.learned_from import LearnedFrom, is_held_out_new
from paramdiff.zoo.zoo import Zoo

TRAJECTORY_STATES = 50


def evaluate_run(run: RunContext) -> None:
    """Evaluate the pooled networks of all generator seeds; write the numbers and the cards.

    Args:
        run: whose generated networks are evaluated.

    Raises:
        UserError: anything that the user can mend.
    """
    started = time.monotonic()
    recipe, zoo, pipeline = run.recipe, run.zoo, run.seed_runs[0].pipeline
    predictor = _predictor(run)
    cache = None
    if run.prediction_cache is not None and predictor.is_deterministic:
        cache = _cached(run, run.prediction_cache, predictor)
        predictor = cache.predictor()

    def cost() -> dict[str, Cost]:
        run.folder.log.record("evaluation", time.monotonic() - started)
        return total_costs(one.folder.log for one in run.seed_runs)

    arrays = training_traces(zoo.originals, zoo.layout)
    if recipe.evaluation.num_trajectories and recipe.diffusion is not None:
        settings = recipe.generation
        seeds = list(range(settings.seed, settings.seed + recipe.evaluation.num_trajectories))
        num_steps, condition = settings.num_inference_steps, settings.condition
        arrays |= score_trajectory(pipeline, predictor, seeds, num_steps, condition)
    controllability = measure_controllability(
        pipeline,
        predictor,
        zoo,
        num_levels=recipe.evaluation.num_conditions,
        first_seed=recipe.generation.seed,
    )
    evaluation, of_groups = evaluate(
        _inputs(run),  # moves the pipeline to the CPU
        predictor,
        recipe.evaluation,
        run.progress,
        controllability=controllability,
        cost=cost,
    )
    if cache is not None:
        cache.write()
    for one in run.seed_runs:
        origin = Origin.of(zoo.index)
        write_cards(one.recipe, one.folder, one.pipeline, origin, evaluation)
    write_evaluation(run.folder.root, evaluation, of_groups | _losses(run) | arrays)


def _predictor(run: RunContext) -> Predictor:
    """Build the predictor of the run's task, on Ray workers if there are any."""
    assert run.task is not None  # without one, the stage is not run
    predictor = build_predictor(
        run.task, run.zoo, run.device, recalibrate=run.recipe.evaluation.recalibrate_batchnorm
    )
    if run.fan_out is None:
        return predictor
    return distributed(predictor, run.task, run.zoo, run.device, run.fan_out)


def _cached(run: RunContext, folder: Path, predictor: Predictor) -> PredictionCache:
    sample, again = run.zoo.originals[:1], predictor.reestimated
    own = cache_folder(
        folder,
        run.recipe,
        run.folder.artifact("zoo"),
        run.device.type,
        predictor.predict(sample),
        None if again is None else again.predict_validation(sample),
    )
    return PredictionCache(predictor, own)


def _losses(run: RunContext) -> dict[str, Tensor]:
    """Read the training losses of the first generator seed."""
    losses = {stage: run.folder.log.losses(stage) for stage in ("codec", "denoiser")}
    return {f"losses/{stage}": torch.tensor(found) for stage, found in losses.items() if found}


def _inputs(run: RunContext) -> EvaluationInputs:
    """Collect what is evaluated, and what is known of it."""
    recipe, zoo, task, pipeline = run.recipe, run.zoo, run.task, run.seed_runs[0].pipeline
    assert task is not None
    generated = [one.generated for one in run.seed_runs]
    seeds = [
        torch.full((len(vectors),), seed)
        for vectors, seed in zip(generated, recipe.generator_seeds, strict=True)
    ]
    inputs = EvaluationInputs.of(
        zoo,
        torch.cat(generated),
        title=f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        facts=network_facts(task, zoo)
        | alignment_facts(run)
        | recipe_facts(recipe, pipeline.codec.latent_dim),
    )
    return replace(
        inputs,
        base=None if recipe.parameters.align else inputs.base,  # its channels keep their order
        generator_seeds=torch.cat(seeds) if len(generated) > 1 else None,
        latents=latent_space(pipeline),
        untrained=untrained_vectors(task, zoo.layout),
        symmetries=known_symmetries(task, zoo),
        is_aligned=recipe.parameters.align,
        data_budget=data_budget(recipe),
        is_held_out_new=is_held_out_new(zoo.index, LearnedFrom.of(zoo.index)),
        scratch=run.scratch,
    )


def latent_space(pipeline: ParameterDiffusionPipeline) -> LatentSpace:
    """Return the maps between raw vectors and latents, without noise, on the CPU."""
    space, codec = pipeline.parameter_space.to("cpu"), pipeline.codec.to("cpu")
    return LatentSpace(
        encode=lambda vectors: encode_all(codec, space.normalize(vectors)),
        decode=lambda latents: space.denormalize(
            decode_all(codec, latents, pipeline.config.statistics)
        ),
    )


def score_trajectory(
    pipeline: ParameterDiffusionPipeline,
    predictor: Predictor,
    seeds: list[int],
    num_inference_steps: int,
    condition: Mapping[str, Value] | None = None,
) -> dict[str, Tensor]:
    """Score the decoded states of the reverse process (paper Figure 5b).

    Args:
        pipeline: of the run.
        predictor: scores networks.
        seeds: of the samples whose reverse process is followed.
        num_inference_steps: of the reverse process.
        condition: of the samples.

    Returns:
        The arrays ``trajectory/timestep``, ``trajectory/score`` and ``parameter_traces/reverse``;
        none if a network on the way computes NaN or infinite values.
    """
    every = max(1, num_inference_steps // TRAJECTORY_STATES)
    trajectory = pipeline.trajectory(
        seeds, num_inference_steps=num_inference_steps, every=every, condition=condition
    )
    states = trajectory.states.nan_to_num(0.0)
    try:
        scores = predictor.predict(states.flatten(0, 1)).test
    except NotFiniteError:
        return {}
    accuracy = scores.float().mean(1).view(states.shape[:2])
    arrays = {"trajectory/timestep": trajectory.timesteps, "trajectory/score": accuracy.T}
    return arrays | reverse_traces(states[:, 0], pipeline.parameter_space.layout)


def network_facts(task: Task, zoo: Zoo) -> dict[str, str]:
    """Describe the task, the network and the checkpoints.

    Args:
        task: of the run.
        zoo: of the run.

    Returns:
        Label to text.
    """
    total = sum(tensor.numel() for tensor in zoo.base.values() if tensor.is_floating_point())
    shown = ", ".join(zoo.layout.names[:6]) + (", ..." if len(zoo.layout.names) > 6 else "")
    held_out = {
        "run": "separate runs",
        "tail": "the last of a run whose others are originals",
        "spaced": "evenly spaced among the others",
        "none": "none",
    }[zoo.index.hold_out]
    return {
        **task.facts(),
        "Network": _network_of(task),
        "Generated parameters": f"{zoo.layout.num_parameters:,} of {total:,} ({shown})",
        "Checkpoints": f"{len(zoo.originals)}, and {len(zoo.held_out)} held out ({held_out})",
    }


def _network_of(task: Task) -> str:
    name = task.network_name or type(task.build_network()).__name__
    return f"{name}, from published weights" if task.build_pretrained else name
