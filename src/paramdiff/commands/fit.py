"""Fit a generator to checkpoints and write new ones; no recipe is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path

from paramdiff.checkpoints.duplicates import without_duplicates
from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.recorded import recorded_base
from paramdiff.checkpoints.sources import FoundCheckpoints, Runs, find_checkpoints, find_runs
from paramdiff.commands.hyperparameters import Configuration, configure
from paramdiff.commands.inspect import READING, inspect, sources_of
from paramdiff.commands.original_scores import describe_checkpoints
from paramdiff.commands.reconstruction_gate import ReconstructionGate
from paramdiff.commands.task_choice import choose_task, open_task
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select as select_names
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.recipe.loading import parse_overrides
from paramdiff.recipe.schema import Recipe, resolve_recipe
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.run import make_networks
from paramdiff.storage import StrPath, path_or_none
from paramdiff.tasks.task_settings import TaskSettings

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 50
FEWEST_FOR_HOLDING_OUT = 20
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Endings of the names of buffers of normalization layers; a state dict does not mark them."""


@dataclass(frozen=True)
class FitPlan:
    """The choices of ``fit``, before it trains.

    Attributes:
        recipe: the run's.
        facts: label to value.
        warnings: what should be looked at first, one sentence each.
    """

    recipe: Recipe
    facts: dict[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FitResult:
    """A generator that was fitted to checkpoints, and new ones.

    Attributes:
        folder: the run's folder.
        plan: what was chosen.
        facts: label to value, of what was found on the way.
        warnings: what should be known of the networks before they are used.
    """

    folder: Path
    plan: FitPlan
    facts: dict[str, str]
    warnings: tuple[str, ...]

    @property
    def pipeline(self) -> Path:
        """The folder of the pipeline, which ``generate`` and ``push`` take."""
        return self.folder / "pipeline"

    @property
    def generated(self) -> Path:
        """The folder of the new checkpoints."""
        return self.folder / "generated"


def fit(
    checkpoints: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    select: Sequence[str] = (),
    include_buffers: bool = False,
    base_checkpoint: StrPath | None = None,
    state_dict_key: str | None = None,
    num_samples: int = 20,
    task: str | TaskSettings | None = None,
    data: str | None = None,
    network: str | None = None,
    image_size: int | None = None,
    score_fn: str | None = None,
    score_validation: str | None = None,
    standardize: bool = False,
    time_budget: float | None = None,
    force: bool = False,
    seed: int = 0,
    device: str = "auto",
    overrides: Sequence[str] = (),
    log: Callable[[str], None] = ignore_progress,
    on_plan: Callable[[FitPlan], None] = ignore_progress,
    progress: StageProgress = ignore_progress,
) -> FitResult:
    """Learn from checkpoints, whatever made them, and write new ones in the same format.

    With a task or a scoring function, the predictions of reconstructed networks decide if the
    codec is good enough; else their parameters do. The same call completes an interrupted run.

    Args:
        checkpoints: files, folders (one sub-folder per run), globs, or ``owner/name@revision`` on
            the Hub.
        out: the run's folder.
        select: patterns of the tensors to generate; by default all that differ.
        include_buffers: let ``select`` match normalization statistics, too.
        base_checkpoint: a complete checkpoint for the tensors that are not selected; by default
            the one that a ``ZooRecorder`` wrote beside selected tensors.
        state_dict_key: the key of the state dict in files that hold several.
        num_samples: networks to generate.
        task: see ``choose_task``.
        data: see ``choose_task``.
        network: see ``choose_task``.
        image_size: see ``choose_task``.
        score_fn: see ``choose_task``.
        score_validation: see ``choose_task``.
        standardize: see ``choose_task``.
        time_budget: minutes for training the denoiser and generating, on this machine.
        force: go on even if reconstructions are too poor.
        seed: random seed of everything.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        overrides: ``path=value`` for the recipe.
        log: called with lines on what the checkpoints score, before the long work.
        on_plan: called with what was chosen, before the long work.
        progress: called with a stage's name, the steps done and the steps in all.

    Returns:
        Where the generator and the new checkpoints are, and what was found.

    Raises:
        UserError: anything that the user can mend.
    """
    sources, out = sources_of(checkpoints), Path(out)
    base = path_or_none(base_checkpoint)
    resolve_device(device)
    RunFolder(out).refuse_foreign()
    runs = find_runs(sources)
    base = base or recorded_base(stored.path for run in runs for stored in run)
    if select:  # a pattern that is wrong, before anything long is read
        _selected(runs, select, include_buffers, state_dict_key)
    chosen = choose_task(
        task=task,
        data=data,
        network=network,
        image_size=image_size,
        score_fn=score_fn,
        score_validation=score_validation,
        standardize=standardize,
    )
    task_of = None if chosen is None else open_task(chosen)
    if task_of is not None:
        for line in describe_checkpoints(
            task_of, sources, base=base, state_dict_key=state_dict_key, device=device
        ):
            log(line)
    plan = plan_fit(
        sources,
        out,
        select=select,
        include_buffers=include_buffers,
        base_checkpoint=base,
        state_dict_key=state_dict_key,
        num_samples=num_samples,
        time_budget=time_budget,
        seed=seed,
        device=device,
        overrides=overrides,
        progress=progress,
    )
    on_plan(plan)
    gate = ReconstructionGate(task_of, device, is_binding=not force)
    made = make_networks(plan.recipe, out, device=device, check=gate, progress=progress)
    return FitResult(out, plan, made.facts, made.warnings)


def _selected(
    runs: Runs, patterns: Sequence[str], include_buffers: bool, state_dict_key: str | None
) -> tuple[ParameterLayout, CheckpointFormat]:
    """Return the layout of the tensors that match, and the format of the first checkpoint."""
    first, checkpoint_format = runs[0][0].read(state_dict_key)
    names = [one for one in first if include_buffers or not one.endswith(BUFFERS)]
    return ParameterLayout.of(first, select_names(names, patterns)), checkpoint_format


def plan_fit(
    sources: Sequence[str],
    out: Path,
    *,
    select: Sequence[str] = (),
    include_buffers: bool = False,
    base_checkpoint: Path | None = None,
    state_dict_key: str | None = None,
    num_samples: int,
    time_budget: float | None = None,
    seed: int = 0,
    device: str = "auto",
    overrides: Sequence[str] = (),
    progress: StageProgress = ignore_progress,
) -> FitPlan:
    """Choose what is generated, and how, and write the recipe.

    All checkpoints are read: which of them are copies, and which tensors differ, decides. The zoo
    is made of a second reading, because what it holds is known only after the first, and neither
    the values of all tensors nor a copy of all files are kept in between.

    Args:
        sources: checkpoints, see ``find_runs``.
        out: the run's folder.
        select: see ``fit``.
        include_buffers: see ``fit``.
        base_checkpoint: see ``fit``.
        state_dict_key: see ``fit``.
        num_samples: see ``fit``.
        time_budget: see ``fit``.
        seed: see ``fit``.
        device: see ``fit``.
        overrides: see ``fit``.
        progress: see ``fit``.

    Returns:
        The plan.

    Raises:
        UserError: a source, a pattern or an override is wrong, or nothing differs.
    """
    found = find_checkpoints(sources)
    facts: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    if select:
        layout, checkpoint_format = _selected(found.runs, select, include_buffers, state_dict_key)
        chosen, num_parameters = list(layout.names), layout.num_parameters
        compared = (
            None if base_checkpoint is None else layout.names
        )  # the rest is the base checkpoint's
        found, _ = without_duplicates(found, state_dict_key, compared, partial(progress, READING))
        num_checkpoints, warnings = len(found.listed), found.notes
        runs = f" in {len(found.runs)} runs" if len(found.runs) > 1 else ""
        facts["Checkpoints"] = f"{num_checkpoints}{runs}"
        facts["Generated"] = f"{num_parameters:,} parameters in {len(chosen)} tensors"
        facts |= found.facts
        if checkpoint_format.left_out:
            facts["Not repeated"] = first_names(checkpoint_format.left_out)
    else:
        inspection = inspect(sources, state_dict_key=state_dict_key, progress=progress)
        if inspection.refused is not None and base_checkpoint is None:
            raise UserError(inspection.refused)
        if not inspection.generated:
            raise UserError(_nothing_to_learn(found))
        chosen, facts = list(inspection.generated), inspection.facts
        warnings = (*inspection.notes, *inspection.warnings)
        num_parameters = inspection.num_generated
        num_checkpoints = inspection.num_checkpoints
    num_held_out = _num_held_out(num_checkpoints)
    sizes, changes = Configuration({}, {}), parse_overrides(overrides)
    if changes.get("preset", "default") == "default":
        sizes = configure(
            num_checkpoints - num_held_out,
            num_held_out,
            num_parameters,
            num_samples=num_samples,
            time_budget=time_budget,
            out=out,
            device=device,
        )
    content = {
        "name": out.name,
        "description": "somebody's checkpoints",
        "seed": seed,
        "task": None,
        "collection": {
            "kind": "folder",
            "checkpoints": list(sources),
            "base_checkpoint": None if base_checkpoint is None else str(base_checkpoint),
            "state_dict_key": state_dict_key,
            "num_held_out": num_held_out,
            "hold_out": "spaced",
        },
        "parameters": {"select": [escape(one) for one in chosen]},
        "diffusion": {"early_stopping": {}},
        "generation": {"num_samples": num_samples},
    }
    recipe = resolve_recipe(content | sizes.content, overrides, "paramdiff fit")
    if base_checkpoint is not None:
        facts["Completed by"] = str(base_checkpoint)
    facts["Held out"] = _describe_held_out(num_held_out)
    facts |= sizes.facts(changes)
    return FitPlan(recipe, facts, warnings)


def _nothing_to_learn(found: FoundCheckpoints) -> str:
    checkpoints = [one for run in found.runs for one in run]
    if len(checkpoints) > 1:
        return "the checkpoints are equal: nothing to learn from"
    beside = f"; skipped: {'; '.join(found.skipped)}" if found.skipped else ""
    return f"{checkpoints[0].path}: expected several checkpoints, found this one alone{beside}"


def _num_held_out(num_checkpoints: int) -> int:
    """Evenly spaced ones: the end of a run, or a whole one, lies where the others never were."""
    if num_checkpoints < FEWEST_FOR_HOLDING_OUT:
        return 0
    return min(MAX_HELD_OUT, round(HELD_OUT_SHARE * num_checkpoints))


def _describe_held_out(num_held_out: int) -> str:
    if num_held_out:
        return f"{num_held_out} evenly spaced checkpoints: they train nothing but say when to stop"
    return f"none (it takes {FEWEST_FOR_HOLDING_OUT} checkpoints)"
