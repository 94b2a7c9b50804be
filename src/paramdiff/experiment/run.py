"""Run a recipe: from a task or a folder of checkpoints to new networks and a report."""

import time
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.codec.codec import Codec
from paramdiff.diffusion.training import DiffusionSettings
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import Subject, evaluate
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.experiment.assess import (
    build_score,
    network_facts,
    reconstruct,
    score_trajectory,
    write_evaluation,
)
from paramdiff.experiment.folder import RunFolder
from paramdiff.experiment.parts import build_parts
from paramdiff.experiment.stages import (
    Context,
    Report,
    make_codec,
    make_denoiser,
    make_generated,
    make_pipeline,
    make_space,
    make_zoo,
    normalised_zoo,
)
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe import Recipe
from paramdiff.report.page import write_report
from paramdiff.tasks.catalogue import build_task, describe_task
from paramdiff.tasks.task import Task
from paramdiff.zoo.zoo import Zoo


def run(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    reuse: Path | None = None,
    report: Report = lambda stage, done, total: None,
) -> Evaluation:
    """Run every stage whose artefact is not there yet.

    Args:
        recipe: what to run.
        out: the run's folder; the same call completes an interrupted run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        reuse: another run's folder, whose matching stages are copied.
        report: told a stage's name, steps done and steps in all.

    Returns:
        The evaluation; ``report.html`` lies in the folder.

    Raises:
        UserError: anything that the user can mend.
    """
    folder = RunFolder(Path(out))
    context = Context(recipe, folder, resolve_device(device), report)
    if reuse is not None and not (Path(reuse) / "recipe.yaml").is_file():
        raise UserError(f"{reuse}: expected a run's folder with recipe.yaml, found none")
    if not folder.artefact("zoo").exists():
        # what cannot work is refused before anything is fetched or written
        build_parts(recipe, describe_task(recipe.task))
    task = build_task(recipe.task)
    is_new = folder.claim(recipe)
    if reuse is not None:
        folder.reuse(RunFolder(Path(reuse)), recipe)
    try:
        zoo = make_zoo(context, task).first(recipe.parameters.num_checkpoints)
    except UserError:
        if is_new and not folder.artefact("zoo").exists():
            folder.abandon()
        raise
    space = make_space(context, zoo)
    vectors = normalised_zoo(context, zoo, space)
    codec = make_codec(context, vectors)
    denoiser = make_denoiser(context, codec, vectors)
    pipeline = make_pipeline(context, space, codec, denoiser)
    generated = make_generated(context, pipeline)
    if not (folder.root / EVALUATION_FILE).is_file():
        _evaluate(context, task, zoo, pipeline, vectors, generated)
    write_report(folder.root)
    folder.finish()
    return Evaluation.model_validate_json((folder.root / EVALUATION_FILE).read_text())


def _evaluate(
    context: Context,
    task: Task,
    zoo: Zoo,
    pipeline: ParameterDiffusionPipeline,
    vectors: Tensor,
    generated: Tensor,
) -> None:
    started = time.monotonic()
    recipe = context.recipe
    score = build_score(task, zoo, context.device)
    reconstructed = reconstruct(
        pipeline.parameter_space.to("cpu"), pipeline.codec, vectors, recipe.codec.statistics
    )
    subject = Subject(
        layout=zoo.layout,
        originals=zoo.originals,
        held_out=zoo.held_out,
        generated=generated,
        reconstructed=reconstructed,
        hold_out=zoo.index.hold_out,
        single_trajectory=zoo.is_single_trajectory,
        title=f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        facts=network_facts(task, zoo.layout, zoo) | _facts(recipe, pipeline.codec),
    )
    evaluation, arrays = evaluate(
        subject,
        score,
        task.validation.labels,
        task.test.labels,
        recipe.evaluation,
        progress=lambda done, total: context.report("evaluating", done, total),
    )
    for stage in ("codec", "denoiser"):
        losses = context.folder.losses(stage)
        if losses:
            arrays[f"losses/{stage}"] = torch.tensor(losses)
    if recipe.evaluation.num_trajectories and recipe.diffusion is not None:
        pipeline.to(context.device)
        seeds = [recipe.generation.seed + i for i in range(recipe.evaluation.num_trajectories)]
        steps = recipe.generation.num_steps
        arrays |= score_trajectory(pipeline, score, task.test.labels, seeds, steps)
    context.folder.record("evaluation", time.monotonic() - started)
    costed = evaluation.model_copy(update={"cost": context.folder.costs()})
    write_evaluation(context.folder.root, costed, arrays)


def _facts(recipe: Recipe, codec: Codec) -> dict[str, str]:
    generation = recipe.generation
    steps = f"{generation.num_steps} steps of {generation.solver}, " if recipe.diffusion else ""
    return {
        "Preset": recipe.preset,
        "Codec": f"{recipe.codec.kind}, latent of {codec.latent_dim}",
        "Denoiser": _describe(recipe.diffusion),
        "Generation": f"{generation.num_samples} networks, {steps}spread {generation.spread:g}, "
        f"seeds from {generation.seed}",
        "Training seed": str(recipe.seed),
    }


def _describe(settings: DiffusionSettings | None) -> str:
    if settings is None:
        return "none: latents are drawn from N(0, I)"
    training = settings.training
    return (
        f"{settings.denoiser.kind}, {training.num_steps + training.extra_updates} updates, "
        f"T = {settings.schedule.num_timesteps}"
    )
