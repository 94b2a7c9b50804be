"""Run a recipe: from a task or a folder of checkpoints to new networks and a report."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from paramdiff.codec.codec import Codec
from paramdiff.diffusion.training import DiffusionSettings
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.course import training_course
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.evaluation.subject import Subject
from paramdiff.experiment.assess import (
    build_behaviour,
    latent_space,
    network_facts,
    score_trajectory,
    untrained_vectors,
    write_evaluation,
)
from paramdiff.experiment.distributed import distributed
from paramdiff.experiment.folder import RunFolder, total_costs
from paramdiff.experiment.generators import Generator, train_generators
from paramdiff.experiment.parts import build_parts
from paramdiff.experiment.remembered import RememberedAnswers, answers_folder
from paramdiff.experiment.stages import Context, Report, make_zoo, tell_nobody
from paramdiff.fanout import FanOut
from paramdiff.processes import join, own_share, refuse_several
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
    fan_out: FanOut | None = None,
    report: Report = tell_nobody,
) -> Evaluation:
    """Run every stage whose artefact is not there yet.

    Processes of one launch (``processes.py``) all call this: they train the codec and the denoiser
    together, and the main process does the rest.

    Args:
        recipe: what to run.
        out: the run's folder; the same call completes an interrupted run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        reuse: another run's folder, whose matching stages are copied.
        answers: a folder that several runs share, so that no parameter vector is scored twice.
        fan_out: workers that collect runs, train generators and score networks side by side.
        report: told a stage's name, steps done and steps in all.

    Returns:
        The evaluation; ``report.html`` lies in the folder.

    Raises:
        UserError: anything that the user can mend.
    """
    if recipe.task is None:
        raise UserError("task: expected data and a network to evaluate with, found none")
    made = make_networks(recipe, out, device=device, reuse=reuse, fan_out=fan_out, report=report)
    folder, processes = made.context.folder, made.context.processes
    with processes.main_process_first():
        if not (folder.root / EVALUATION_FILE).is_file():
            assert made.task is not None
            _evaluate(made.context, made.task, made.zoo, made.generators, answers)
        if processes.is_main_process:
            write_report(folder.root)
    made.finish()
    return Evaluation.model_validate_json((folder.root / EVALUATION_FILE).read_text())


@dataclass(frozen=True)
class Made:
    """A run up to its networks.

    Attributes:
        context: of the run.
        task: the recipe's, where it has one and this is the main process.
        zoo: the checkpoints that were learned from.
        generators: one per generator seed.
    """

    context: Context
    task: AnyTask | None
    zoo: Zoo
    generators: list[Generator]

    def finish(self) -> None:
        """Remove unfinished work: the run is complete."""
        for generator in self.generators if self.context.processes.is_main_process else ():
            generator.folder.finish()


def make_networks(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    reuse: Path | None = None,
    fan_out: FanOut | None = None,
    report: Report = tell_nobody,
) -> Made:
    """Run every stage up to the generated networks whose artefact is not there yet.

    Args:
        recipe: see ``run``; its task may be none.
        out: see ``run``.
        device: see ``run``.
        reuse: see ``run``.
        fan_out: see ``run``.
        report: see ``run``.

    Returns:
        What was made.

    Raises:
        UserError: anything that the user can mend.
    """
    folder, target = RunFolder(Path(out)), resolve_device(device)
    processes = join(target)
    if fan_out is not None:
        refuse_several(target, "--ray")
        folder = RunFolder(Path(out).absolute())
    if not processes.is_main_process:
        report = tell_nobody
    context = Context(recipe, folder, target, report, processes, fan_out)
    if reuse is not None and not (Path(reuse) / "recipe.yaml").is_file():
        raise UserError(f"{reuse}: expected a run's folder with recipe.yaml, found none")
    if not folder.artefact("zoo").exists():
        # what cannot work is refused before anything is fetched or written
        build_parts(recipe, None if recipe.task is None else describe_task(recipe.task))
    _check_batches(recipe, target)
    with processes.main_process_first():
        task = None
        if recipe.task is not None and processes.is_main_process:
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
    return Made(context, task, zoo, train_generators(context, zoo, reuse))


def _check_batches(recipe: Recipe, device: torch.device) -> None:
    """Refuse batches that the processes of this launch cannot share, before anything is made."""
    for field in ("codec", "diffusion"):
        training = getattr(getattr(recipe, field), "training", None)
        if training is not None:
            own_share(training.batch_size, device, f"{field}.training.batch_size")


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
    if context.fan_out is not None:
        behaviour = distributed(behaviour, task, zoo, context.device, context.fan_out)
    remembered = None
    if answers is not None and behaviour.is_deterministic:
        zoo_folder = context.folder.artefact("zoo")
        folder = answers_folder(answers, recipe, zoo_folder, context.device.type)
        remembered = RememberedAnswers(behaviour, folder)
        behaviour = remembered.behaviour()
    subject = Subject.of(
        zoo,
        torch.cat([one.generated for one in generators]),
        title=f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name,
        facts=network_facts(task, zoo.layout, zoo) | _facts(recipe, pipeline.codec),
        generator_seeds=torch.cat(seeds) if len(generators) > 1 else None,
        latents=latent_space(pipeline),
        untrained=untrained_vectors(task, zoo.layout),
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
