"""The last stage of a run: its networks into ``evaluation.json`` and its arrays."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.codecs.base import decode_all, encode_all
from paramdiff.diffusion.conditioning import Value
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.inputs import EvaluationInputs, LatentSpace
from paramdiff.evaluation.parameter_traces import reverse_traces, training_traces
from paramdiff.evaluation.predictor import Predictor
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.description import data_budget, recipe_facts
from paramdiff.runs.aligned import alignment_facts, known_symmetries
from paramdiff.runs.context import Context
from paramdiff.runs.controllability import measure_controllability
from paramdiff.runs.network_facts import network_facts
from paramdiff.runs.parallel_predictors import distributed
from paramdiff.runs.prediction_cache import RememberedAnswers, answers_folder
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.runs.seed_runs import Generator
from paramdiff.runs.stage_log import total_costs
from paramdiff.tasks.base import AnyTask
from paramdiff.zoo.learned_from import LearnedFrom, is_held_out_new
from paramdiff.zoo.zoo import Zoo

TRAJECTORY_STATES = 50


def evaluate_run(
    context: Context,
    task: AnyTask,
    zoo: Zoo,
    generators: Sequence[Generator],
    answers: Path | None,
) -> None:
    """Measure what all generators of a run made, and write the numbers and the cards.

    Args:
        context: of the run.
        task: scores networks.
        zoo: what was learned from.
        generators: whose networks are pooled.
        answers: a folder that several runs share, so that no parameter vector is scored twice.

    Raises:
        UserError: anything that the user can mend.
    """
    started = time.monotonic()
    recipe, pipeline = context.recipe, generators[0].pipeline
    predictor = build_predictor(
        task, zoo, context.device, recalibrate=recipe.evaluation.recalibrate_batchnorm
    )
    if context.fan_out is not None:
        predictor = distributed(predictor, task, zoo, context.device, context.fan_out)
    remembered = None
    if answers is not None and predictor.is_deterministic:
        zoo_folder = context.folder.artifact("zoo")
        sample, again = zoo.originals[:1], predictor.reestimated
        folder = answers_folder(
            answers,
            recipe,
            zoo_folder,
            context.device.type,
            predictor.predict(sample),
            None if again is None else again.predict_validation(sample),
        )
        remembered = RememberedAnswers(predictor, folder)
        predictor = remembered.predictor()
    evaluation, arrays = evaluate(
        _subject(context, task, zoo, generators), predictor, recipe.evaluation, context.progress
    )
    for stage in ("codec", "denoiser"):
        losses = context.folder.log.losses(stage)
        if losses:
            arrays[f"losses/{stage}"] = torch.tensor(losses)
    arrays |= training_traces(zoo.originals, zoo.layout)
    pipeline.to(context.device)
    if recipe.evaluation.num_trajectories and recipe.diffusion is not None:
        first = recipe.generation.seed
        followed = list(range(first, first + recipe.evaluation.num_trajectories))
        settings = recipe.generation
        num_steps, condition = settings.num_inference_steps, settings.condition
        arrays |= score_trajectory(pipeline, predictor, followed, num_steps, condition)
    obtained = measure_controllability(
        pipeline,
        predictor,
        zoo,
        num_levels=recipe.evaluation.num_conditions,
        first_seed=recipe.generation.seed,
    )
    if remembered is not None:
        remembered.write()
    context.folder.log.record("evaluation", time.monotonic() - started)
    cost = total_costs(one.folder.log for one in generators)
    costed = evaluation.model_copy(update={"controllability": obtained, "cost": cost})
    for one in generators:
        one.write_cards(zoo, costed)
    write_evaluation(context.folder.root, costed, arrays)


def _subject(
    context: Context, task: AnyTask, zoo: Zoo, generators: Sequence[Generator]
) -> EvaluationInputs:
    """What is judged, and what is known of it."""
    recipe, pipeline = context.recipe, generators[0].pipeline
    seeds = [
        torch.full((len(one.generated),), one.recipe.generator_seeds[0]) for one in generators
    ]
    return replace(
        EvaluationInputs.of(
            zoo,
            torch.cat([one.generated for one in generators]),
            title=f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
            facts=network_facts(task, zoo)
            | alignment_facts(context)
            | recipe_facts(recipe, pipeline.codec.latent_dim),
        ),
        generator_seeds=torch.cat(seeds) if len(generators) > 1 else None,
        latents=latent_space(pipeline),
        untrained=untrained_vectors(task, zoo.layout),
        symmetries=known_symmetries(task, zoo),
        is_aligned=recipe.parameters.align,
        data_budget=data_budget(recipe),
        is_held_out_new=is_held_out_new(zoo.index, LearnedFrom.of(zoo.index)),
        scratch=context.scratch,
    )


def latent_space(pipeline: ParameterDiffusionPipeline) -> LatentSpace:
    """The pipeline's maps between raw vectors and latents, without noise, on the CPU."""
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
    """The score of the decoded states of the reverse process (paper Figure 5b).

    Args:
        pipeline: what generates.
        predictor: scores networks.
        seeds: whose reverse process is followed.
        num_inference_steps: of the reverse process.
        condition: what is asked for.

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
