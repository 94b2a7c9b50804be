"""Run a recipe: from a task or a folder of checkpoints to new networks and a report.

The order of the stages is in ``stages.py``, and what completes them in ``stage.py``.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from paramdiff.codecs.base import Codec
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.metrics.aligned_distance import UNORDERED
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.locking import sole_writer
from paramdiff.parallel import FanOut
from paramdiff.parameters.space import ParameterSpace
from paramdiff.processes import join, own_share, refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.recipe.schema import FolderSettings, Recipe, load_recipe
from paramdiff.runs.alignment_stage import is_unordered
from paramdiff.runs.copy_stages import bind_recipe, copy_stages, later_stage_exists, rollback
from paramdiff.runs.denoiser_validation import dispersion_warning
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.meta_models import build_meta_models
from paramdiff.runs.ray_jobs import complete_seeds
from paramdiff.runs.run_context import RunContext, SeedRun
from paramdiff.runs.stage_loop import complete
from paramdiff.runs.stages import (
    CODEC_STAGES,
    EVALUATION_STAGES,
    GENERATION_STAGES,
    ZOO_STAGES,
)
from paramdiff.storage import StrPath, path_or_none
from paramdiff.tasks.registry import describe_task
from paramdiff.zoo.import_checkpoints import refuse_changed
from paramdiff.zoo.zoo import Zoo

CodecCheck = Callable[[Recipe, Zoo, ParameterSpace, Codec, Tensor], str]
"""Recipe, zoo, space, codec and normalized vectors ``[N, length]`` to what was found, as text; a
``UserError`` stops the run."""


def run(
    recipe: Recipe | StrPath,
    out: StrPath,
    *,
    device: str = "auto",
    reuse: StrPath | None = None,
    prediction_cache: StrPath | None = None,
    fan_out: FanOut | None = None,
    progress: StageProgress = ignore_progress,
) -> Evaluation:
    """Run every stage whose artifact is not there yet.

    All processes of one launch (``processes.py``) call this: they train the codec and the
    denoiser together, and the main process does the rest.

    Args:
        recipe: what to run; a YAML file or the name of a shipped recipe is loaded.
        out: the run's folder; the same call completes an interrupted run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        reuse: another run's folder, whose matching stages are copied.
        prediction_cache: a folder that several runs share, so that no parameter vector is scored
            twice.
        fan_out: Ray workers that collect runs, train generator seeds and score networks.
        progress: called with a stage's name, its steps done and in all.

    Returns:
        The evaluation; ``report.html`` lies in the folder.

    Raises:
        UserError: anything that the user can mend.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    if recipe.task is None:
        raise UserError("task: the recipe has no data and no network to evaluate with")
    reuse, cache = path_or_none(reuse), path_or_none(prediction_cache)
    context = _context(recipe, Path(out), device, fan_out, progress, cache)
    with _sole_writer(context):
        _make_networks(context, reuse, None)
        complete(EVALUATION_STAGES, context)
        _finish(context)
    return read_evaluation(context.folder.artifact(EVALUATION_FILE))


@dataclass(frozen=True)
class RunResult:
    """A run up to its generated networks.

    Attributes:
        context: of the run, with its artifacts.
        checked: what the check of the codec found; None if there was none, or is long past.
    """

    context: RunContext
    checked: str | None

    @property
    def zoo(self) -> Zoo:
        """The checkpoints that were learned from."""
        return self.context.zoo

    @property
    def seed_runs(self) -> tuple[SeedRun, ...]:
        """One per generator seed."""
        return self.context.seed_runs

    @property
    def facts(self) -> dict[str, str]:
        """Findings on the way, label to value."""
        return {} if self.checked is None else {"Reconstruction": self.checked}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the networks."""
        found = [
            dispersion_warning(one.folder.log.validation_records("denoiser"))
            for one in self.seed_runs
        ]
        return tuple(warning for warning in found if warning is not None)


def make_networks(
    recipe: Recipe,
    out: StrPath,
    *,
    device: str = "auto",
    reuse: StrPath | None = None,
    check: CodecCheck | None = None,
    fan_out: FanOut | None = None,
    progress: StageProgress = ignore_progress,
) -> RunResult:
    """Run every stage up to the generated networks, for which no task is needed.

    Args:
        recipe: see ``run``; its task may be null.
        out: see ``run``.
        device: see ``run``.
        reuse: see ``run``.
        check: called before a denoiser is trained; until then, another recipe may go on from the
            folder's zoo.
        fan_out: see ``run``.
        progress: see ``run``.

    Returns:
        The networks, and the run that made them.

    Raises:
        UserError: anything that the user can mend.
    """
    reuse = path_or_none(reuse)
    context = _context(recipe, Path(out), device, fan_out, progress, None)
    with _sole_writer(context):
        checked = _make_networks(context, reuse, check)
        _finish(context)
    return RunResult(context, checked)


def _context(
    recipe: Recipe,
    out: Path,
    device: str,
    fan_out: FanOut | None,
    progress: StageProgress,
    prediction_cache: Path | None,
) -> RunContext:
    target = resolve_device(device)
    processes = join(target)
    if fan_out is not None:
        refuse_several(target, "--ray")
        out = out.absolute()
    if not processes.is_main_process:
        progress = ignore_progress
    return RunContext(
        recipe, RunFolder(out), target, progress, processes, fan_out, prediction_cache
    )


@contextmanager
def _sole_writer(context: RunContext) -> Iterator[None]:
    """Let no program but the processes of this launch work in the folder."""
    if context.processes.is_main_process:
        with sole_writer(context.folder.root):
            yield
    else:
        yield


def _make_networks(
    context: RunContext, reuse: Path | None, check: CodecCheck | None
) -> str | None:
    """Complete the stages up to the generated networks; return what the check found."""
    _refuse_early(context, reuse)
    with context.processes.main_process_first():
        is_new = context.processes.is_main_process and _bind(context, reuse, check is not None)
    try:
        complete(ZOO_STAGES, context)
        warn_if_unordered(context, context.zoo)
        context.conditions  # noqa: B018  # unknown ones are refused before anything is trained
    except UserError:
        if is_new and not context.folder.artifact("zoo").exists():
            rollback(context.folder)
        raise
    numbers = range(len(context.recipe.generator_seeds))
    if context.fan_out is not None and len(numbers) > 1:
        complete_seeds(context.fan_out, context, reuse, _complete_seed)  # found done below
    found = [_complete_seed(context, number, reuse, check) for number in numbers]
    return found[0]


def _refuse_early(context: RunContext, reuse: Path | None) -> None:
    """Refuse what cannot work before anything is fetched or written."""
    recipe, folder = context.recipe, context.folder
    if reuse is not None and not RunFolder(reuse).recipe_file.is_file():
        raise UserError(f"{reuse}: this is no run's folder: it has no recipe.yaml")
    if not folder.artifact("zoo").exists():
        build_meta_models(recipe, None if recipe.task is None else describe_task(recipe.task))
    learns = recipe.codec.learns_from is not None
    if learns and not folder.artifact("pipeline/codec").exists():
        refuse_several(context.device, "codec.behavior", "a correction is trained by one")
    shared = {
        "codec": recipe.codec.shared_training,
        "diffusion": None if recipe.diffusion is None else recipe.diffusion.training,
    }
    for field, training in shared.items():
        if training is not None:
            own_share(training.batch_size, context.device, f"{field}.training.batch_size")


def _bind(context: RunContext, reuse: Path | None, may_change: bool) -> bool:
    """Bind the folder to the recipe and copy matching stages; return True if it was new."""
    recipe, folder = context.recipe, context.folder
    context.task  # noqa: B018  # its errors come before anything is written
    is_new = bind_recipe(folder, recipe, may_change=may_change)
    if reuse is not None:
        copy_stages(folder, RunFolder(reuse), recipe)
    zoo = folder.artifact("zoo")
    if zoo.exists() and isinstance(recipe.collection, FolderSettings):
        refuse_changed(recipe.collection.checkpoints, zoo)
    return is_new


def warn_if_unordered(context: RunContext, zoo: Zoo) -> None:
    """Warn before training of independent runs that should be aligned, if the run has a task.

    Without a task, ``inspect`` and ``fit`` warn of them.

    Args:
        context: of the run.
        zoo: of the run.
    """
    recipe = context.recipe
    is_asked = recipe.task is not None and not recipe.parameters.align
    if is_asked and context.processes.is_main_process:
        if not later_stage_exists(context.folder, "alignment") and is_unordered(zoo):
            warnings.warn(UNORDERED, stacklevel=2)


def _complete_seed(
    context: RunContext, number: int, reuse: Path | None, check: CodecCheck | None
) -> str | None:
    """Complete the stages of one generator seed; return what the check of its codec found."""
    run = SeedRun(context, number)  # its normalized vectors are freed at the end
    if number and context.processes.is_main_process:
        bind_recipe(run.folder, run.recipe)
        other = None if reuse is None else RunFolder(reuse).of_seed(run.recipe.generator_seeds[0])
        if other is not None and other.root.is_dir():
            copy_stages(run.folder, other, run.recipe)
    complete(CODEC_STAGES, run)
    checked = None
    if check is not None and not later_stage_exists(run.folder, "codec"):
        with context.processes.main_process_first():
            checked = _check_codec(run, check)
    complete(GENERATION_STAGES, run)
    return checked


def _check_codec(run: SeedRun, check: CodecCheck) -> str:
    try:
        return check(run.recipe, run.zoo, run.space, run.codec, run.vectors)
    except UserError:
        if run.processes.is_main_process:
            run.folder.finish()  # no stage is unfinished
        raise


def _finish(context: RunContext) -> None:
    """Remove unfinished work: the run is complete."""
    if context.processes.is_main_process:
        for one in context.seed_runs:
            one.folder.finish()
