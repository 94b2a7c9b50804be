"""Run a recipe: from a task or a folder of checkpoints to new networks and a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.locking import sole_writer
from paramdiff.parallel import FanOut
from paramdiff.processes import join, own_share, refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.recipe import Recipe, load_recipe
from paramdiff.report.page import write_report
from paramdiff.runs.aligned import make_aligned
from paramdiff.runs.context import Context
from paramdiff.runs.evaluating import evaluate_run
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.meta_models import build_parts
from paramdiff.runs.seed_runs import Check, Generator, train_generators
from paramdiff.runs.stages import (
    conditions_of,
    make_zoo,
)
from paramdiff.runs.validation import spread_warning
from paramdiff.storage import StrPath, path_or_none
from paramdiff.tasks.base import AnyTask
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.zoo.zoo import Zoo


def run(
    recipe: Recipe | StrPath,
    out: StrPath,
    *,
    device: str = "auto",
    reuse: StrPath | None = None,
    answers: StrPath | None = None,
    fan_out: FanOut | None = None,
    progress: StageProgress = ignore_progress,
) -> Evaluation:
    """Run every stage whose artifact is not there yet.

    Processes of one launch (``processes.py``) all call this: they train the codec and the denoiser
    together, and the main process does the rest.

    Args:
        recipe: what to run; a YAML file or the name of a shipped recipe is loaded.
        out: the run's folder; the same call completes an interrupted run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        reuse: another run's folder, whose matching stages are copied.
        answers: a folder that several runs share, so that no parameter vector is scored twice.
        fan_out: workers that collect runs, train generators and score networks side by side.
        progress: told a stage's name, steps done and steps in all.

    Returns:
        The evaluation; ``report.html`` lies in the folder.

    Raises:
        UserError: anything that the user can mend.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    out, reuse, answers = Path(out), path_or_none(reuse), path_or_none(answers)
    if recipe.task is None:
        raise UserError("task: expected data and a network to evaluate with, found none")
    with _alone_in(out, device):
        made = _make(recipe, out, device, reuse, fan_out, progress, None)
        with made.context.processes.main_process_first():
            if made.context.processes.is_main_process:
                if not (out / EVALUATION_FILE).is_file():
                    assert made.task is not None
                    evaluate_run(made.context, made.task, made.zoo, made.generators, answers)
                write_report(out)
        made.finish()
    return read_evaluation(out / EVALUATION_FILE)


@contextmanager
def _alone_in(out: Path, device: str) -> Iterator[None]:
    """While it lasts, no program but the processes of this launch works in the folder."""
    if join(resolve_device(device)).is_main_process:
        with sole_writer(out):
            yield
    else:
        yield


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

    @property
    def facts(self) -> dict[str, str]:
        """What was found on the way, label to value."""
        checked = self.generators[0].checked
        return {} if checked is None else {"Reconstruction": checked}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be known of the networks before they are used."""
        found = [spread_warning(one.folder.log.looks("denoiser")) for one in self.generators]
        return tuple(warning for warning in found if warning is not None)

    def finish(self) -> None:
        """Remove unfinished work: the run is complete."""
        for generator in self.generators if self.context.processes.is_main_process else ():
            generator.folder.finish()


def make_networks(
    recipe: Recipe,
    out: StrPath,
    *,
    device: str = "auto",
    reuse: StrPath | None = None,
    check: Check | None = None,
    fan_out: FanOut | None = None,
    progress: StageProgress = ignore_progress,
) -> Made:
    """Run every stage up to the generated networks, for which no task is needed.

    Args:
        recipe: see ``run``; its task may be none.
        out: see ``run``.
        device: see ``run``.
        reuse: see ``run``.
        check: asked before a denoiser is trained; until then, another recipe may go on from the
            folder's zoo.
        fan_out: see ``run``.
        progress: see ``run``.

    Returns:
        What was made.

    Raises:
        UserError: anything that the user can mend.
    """
    out, reuse = Path(out), path_or_none(reuse)
    with _alone_in(out, device):
        made = _make(recipe, out, device, reuse, fan_out, progress, check)
        made.finish()
    return made


def _make(
    recipe: Recipe,
    out: Path,
    device: str,
    reuse: Path | None,
    fan_out: FanOut | None,
    progress: StageProgress,
    check: Check | None,
) -> Made:
    """Run every stage up to the generated networks whose artifact is not there yet."""
    folder, target = RunFolder(out), resolve_device(device)
    processes = join(target)
    if fan_out is not None:
        refuse_several(target, "--ray")
        folder = RunFolder(out.absolute())
    if not processes.is_main_process:
        progress = ignore_progress
    context = Context(recipe, folder, target, progress, processes, fan_out)
    if reuse is not None and not (Path(reuse) / "recipe.yaml").is_file():
        raise UserError(f"{reuse}: expected a run's folder with recipe.yaml, found none")
    if not folder.artifact("zoo").exists():
        # what cannot work is refused before anything is fetched or written
        build_parts(recipe, None if recipe.task is None else describe_task(recipe.task))
    _check_processes(recipe, folder, target)
    with processes.main_process_first():
        task = None
        if recipe.task is not None and processes.is_main_process:
            task = build_task(recipe.task)
        is_new = folder.claim(recipe, may_change=check is not None)
        if reuse is not None:
            folder.reuse(RunFolder(Path(reuse)), recipe)
        try:
            zoo = make_aligned(context, task, make_zoo(context, task))
            zoo = zoo.first(recipe.parameters.num_checkpoints)
            conditions_of(recipe, zoo, folder)  # what is not known is told before training
        except UserError:
            if is_new and not folder.artifact("zoo").exists():
                folder.abandon()
            raise
    generators = train_generators(context, zoo, reuse, check)
    with processes.main_process_first():
        for generator in generators if processes.is_main_process else ():
            generator.write_cards(zoo)
    return Made(context, task, zoo, generators)


def _check_processes(recipe: Recipe, folder: RunFolder, device: torch.device) -> None:
    """Refuse what the processes of this launch cannot share, before anything is made."""
    if recipe.codec.learns_from is not None and not folder.artifact("codec").exists():
        refuse_several(device, "codec.behavior", "a correction is trained by one")
    shared = {
        "codec": recipe.codec.shared_training,
        "diffusion": None if recipe.diffusion is None else recipe.diffusion.training,
    }
    for field, training in shared.items():
        if training is not None:
            own_share(training.batch_size, device, f"{field}.training.batch_size")
