"""Run a recipe: from a task or a folder of checkpoints to new networks and a report."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.codec.codec import Codec
from paramdiff.diffusion.training import DiffusionSettings
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.course import training_course
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.evaluation.subject import Subject
from paramdiff.experiment.aligning import alignment_facts, known_symmetries, make_aligned
from paramdiff.experiment.assess import (
    build_behaviour,
    latent_space,
    network_facts,
    score_trajectory,
    untrained_vectors,
    write_evaluation,
)
from paramdiff.experiment.folder import RunFolder, total_costs
from paramdiff.experiment.parts import build_parts
from paramdiff.experiment.remembered import RememberedAnswers, answers_file
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
from paramdiff.tasks.task import AnyTask
from paramdiff.zoo.zoo import Zoo


def run(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    reuse: Path | None = None,
    answers: Path | None = None,
    report: Report = lambda stage, done, total: None,
) -> Evaluation:
    """Run every stage whose artefact is not there yet.

    Args:
        recipe: what to run.
        out: the run's folder; the same call completes an interrupted run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        reuse: another run's folder, whose matching stages are copied.
        answers: a folder that several runs share, so that no parameter vector is scored twice.
        report: told a stage's name, steps done and steps in all.

    Returns:
        The evaluation; ``report.html`` lies in the folder.

    Raises:
        UserError: anything that the user can mend.
    """
    if recipe.task is None:
        raise UserError("task: expected data and a network to evaluate with, found none")
    made = make_networks(recipe, out, device=device, reuse=reuse, report=report)
    folder = made.context.folder
    if not (folder.root / EVALUATION_FILE).is_file():
        assert made.task is not None
        _evaluate(made.context, made.task, made.zoo, made.generators, answers)
    write_report(folder.root)
    made.finish()
    return Evaluation.model_validate_json((folder.root / EVALUATION_FILE).read_text())


@dataclass(frozen=True)
class Generator:
    """What one generator seed gave.

    Attributes:
        seed: the generator's.
        folder: of its artefacts.
        pipeline: what generates.
        generated: raw vectors ``[M, P]``.
    """

    seed: int
    folder: RunFolder
    pipeline: ParameterDiffusionPipeline
    generated: Tensor


@dataclass(frozen=True)
class Made:
    """A run up to its networks.

    Attributes:
        context: of the run.
        task: the recipe's, where it has one.
        zoo: the checkpoints that were learned from.
        generators: one per generator seed.
    """

    context: Context
    task: AnyTask | None
    zoo: Zoo
    generators: list[Generator]

    def finish(self) -> None:
        """Remove unfinished work: the run is complete."""
        for generator in self.generators:
            generator.folder.finish()


def make_networks(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    reuse: Path | None = None,
    report: Report = lambda stage, done, total: None,
) -> Made:
    """Run every stage up to the generated networks whose artefact is not there yet.

    Args:
        recipe: see ``run``; its task may be none.
        out: see ``run``.
        device: see ``run``.
        reuse: see ``run``.
        report: see ``run``.

    Returns:
        What was made.

    Raises:
        UserError: anything that the user can mend.
    """
    folder = RunFolder(Path(out))
    context = Context(recipe, folder, resolve_device(device), report)
    if reuse is not None and not (Path(reuse) / "recipe.yaml").is_file():
        raise UserError(f"{reuse}: expected a run's folder with recipe.yaml, found none")
    if not folder.artefact("zoo").exists():
        # what cannot work is refused before anything is fetched or written
        build_parts(recipe, None if recipe.task is None else describe_task(recipe.task))
    task = None if recipe.task is None else build_task(recipe.task)
    is_new = folder.claim(recipe)
    if reuse is not None:
        folder.reuse(RunFolder(Path(reuse)), recipe)
    try:
        zoo = make_aligned(context, task, make_zoo(context, task))
        zoo = zoo.first(recipe.parameters.num_checkpoints)
    except UserError:
        if is_new and not folder.artefact("zoo").exists():
            folder.abandon()
        raise
    return Made(context, task, zoo, _train_generators(context, zoo, reuse))


def _train_generators(context: Context, zoo: Zoo, reuse: Path | None) -> list[Generator]:
    """Codec, denoiser and generated networks for each seed; the first lie in the run's root."""
    generators = []
    for number, seed in enumerate(context.recipe.seeds):
        recipe, folder = context.recipe.of_generator(number), context.folder
        if number:
            folder = folder.of_generator(seed)
            folder.claim(recipe)
            other = None if reuse is None else RunFolder(reuse).of_generator(seed)
            if other is not None and other.root.is_dir():
                folder.reuse(other, recipe)
        own = replace(context, recipe=recipe, folder=folder)
        space = make_space(own, zoo)
        vectors = normalised_zoo(own, zoo, space)
        codec = make_codec(own, vectors)
        denoiser = make_denoiser(own, codec, vectors)
        pipeline = make_pipeline(own, space, codec, denoiser)
        generators.append(Generator(seed, folder, pipeline, make_generated(own, pipeline)))
    return generators


def _evaluate(
    context: Context,
    task: AnyTask,
    zoo: Zoo,
    generators: list[Generator],
    answers: Path | None,
) -> None:
    started = time.monotonic()
    recipe, pipeline = context.recipe, generators[0].pipeline
    seeds = [torch.full((len(one.generated),), one.seed) for one in generators]
    behaviour = build_behaviour(
        task, zoo, context.device, recalibrate=recipe.evaluation.recalibrate_batchnorm
    )
    remembered = None
    if answers is not None and behaviour.is_deterministic:
        file = answers_file(answers, recipe, context.folder.artefact("zoo"), context.device.type)
        remembered = RememberedAnswers(behaviour, file)
        behaviour = remembered.behaviour()
    subject = Subject.of(
        zoo,
        torch.cat([one.generated for one in generators]),
        title=f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        facts=network_facts(task, zoo.layout, zoo)
        | alignment_facts(context)
        | _facts(recipe, pipeline.codec),
        generator_seeds=torch.cat(seeds) if len(generators) > 1 else None,
        latents=latent_space(pipeline),
        untrained=untrained_vectors(task, zoo.layout),
        symmetries=known_symmetries(task, zoo.layout),
    )
    evaluation, arrays = evaluate(
        subject,
        behaviour,
        recipe.evaluation,
        progress=lambda done, total: context.report("evaluating", done, total),
    )
    for stage in ("codec", "denoiser"):
        losses = context.folder.losses(stage)
        if losses:
            arrays[f"losses/{stage}"] = torch.tensor(losses)
    arrays |= training_course(zoo.originals, zoo.layout)
    if recipe.evaluation.num_trajectories and recipe.diffusion is not None:
        pipeline.to(context.device)
        first = recipe.generation.seed
        followed = list(range(first, first + recipe.evaluation.num_trajectories))
        arrays |= score_trajectory(pipeline, behaviour, followed, recipe.generation.num_steps)
    if remembered is not None:
        remembered.write()
    context.folder.record("evaluation", time.monotonic() - started)
    cost = total_costs([generator.folder for generator in generators])
    costed = evaluation.model_copy(update={"cost": cost})
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
        "Seeds": f"zoo {recipe.seed}, generator {', '.join(map(str, recipe.seeds))}",
    }


def _describe(settings: DiffusionSettings | None) -> str:
    if settings is None:
        return "none: latents are drawn from N(0, I)"
    training = settings.training
    return (
        f"{settings.denoiser.kind}, {training.num_steps + training.extra_updates} updates, "
        f"T = {settings.schedule.num_timesteps}"
    )
