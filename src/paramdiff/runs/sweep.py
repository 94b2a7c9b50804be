"""Run a set of recipes, each in a folder of its own, and compare them on one page.

A run reuses every stage that another run in the sweep's folder has finished with equal fields:
recipes that differ only in later stages share their checkpoints, those that differ in fine-tuning
share the pretrained checkpoint. On several workers a recipe waits for the one from which it can
reuse most. The same call completes an interrupted sweep. A recipe that fails does not stop the
others.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from paramdiff.device import resolve_device
from paramdiff.errors import UserError, in_one_line
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.locking import sole_writer
from paramdiff.parallel import FanOut
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress
from paramdiff.recipe.schema import Recipe
from paramdiff.report.page import REPORT_FILE
from paramdiff.report.sweep_page import render_sweep, result_of, write_sweep
from paramdiff.report.sweep_schema import SWEEP_FILE, SWEEP_PAGE, Sweep, SweepRow, read_sweep
from paramdiff.runs.copy_stages import (
    bind_recipe,
    equal_stages,
    has_equal_pretraining,
    pretrained_checkpoint,
    shared_stages,
)
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.ray_jobs import complete_rows
from paramdiff.runs.run import run
from paramdiff.runs.sweep_entries import PREDICTION_CACHE, RECIPES_ONLY, Entry, SweepExtension
from paramdiff.storage import write_text

Watch = Callable[[str], AbstractContextManager[StageProgress]]
"""Called with a recipe's name before it runs; gives the progress callback of its stages."""


def run_sweep(
    entries: Sequence[Entry],
    out: Path,
    *,
    device: str,
    watch: Watch,
    requested: Sequence[str] = (),
    fan_out: FanOut | None = None,
    extension: SweepExtension = RECIPES_ONLY,
) -> Sweep:
    """Run every entry and write ``sweep.json`` and ``sweep.html`` after each.

    Sections of an extension may take seconds to draw; they join the page at the end.

    Args:
        entries: the recipes.
        out: contains one folder per entry; rows of an earlier sweep about others stay.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: see ``Watch``.
        requested: sections of the extension that the page shows in any case, by name.
        fan_out: workers that run recipes side by side; None runs them in turn.
        extension: adds published numbers and sections to the page.

    Returns:
        One row per entry; a row without a result says why it failed.

    Raises:
        UserError: several processes of a launch do this.
    """
    refuse_several(resolve_device(device), "sweep")
    with sole_writer(out):
        return _run_all(entries, out, device, watch, requested, fan_out, extension)


def _run_all(
    entries: Sequence[Entry],
    out: Path,
    device: str,
    watch: Watch,
    requested: Sequence[str],
    fan_out: FanOut | None,
    extension: SweepExtension,
) -> Sweep:
    before = _earlier(out, {entry.name for entry in entries})
    named = tuple(dict.fromkeys((*before.requested, *requested)))
    rows: dict[int, SweepRow] = {}
    in_order: list[SweepRow] = []
    made = _in_turn if fan_out is None else partial(_side_by_side, fan_out)
    for index, row in made(entries, out, device, watch):
        published = extension.published(row.name, entries[index].recipe)
        rows[index] = row.model_copy(update={"published": published})
        in_order = [rows[number] for number in sorted(rows)]
        so_far = Sweep(rows=(*before.rows, *in_order), requested=named)
        write_sweep(out, so_far, extension.page_parts(so_far, None))
    whole = Sweep(rows=(*before.rows, *in_order), requested=named)
    write_sweep(out, whole, extension.page_parts(whole, out))
    return Sweep(rows=tuple(in_order), requested=named)


def _in_turn(
    entries: Sequence[Entry], out: Path, device: str, watch: Watch
) -> Iterator[tuple[int, SweepRow]]:
    for index, entry in enumerate(entries):
        with watch(entry.name) as progress:
            row = _row(entry, out, device, (), progress)
        yield index, row


def _side_by_side(
    fan_out: FanOut, entries: Sequence[Entry], out: Path, device: str, watch: Watch
) -> Iterator[tuple[int, SweepRow]]:
    """Run each recipe after the earlier one with which it shares most, if it shares anything."""
    after = waits_for([entry.recipe for entry in entries])
    with watch(f"{len(entries)} recipes side by side") as progress:
        results = complete_rows(fan_out, entries, out, device, after, _row)
        for done, (index, found) in enumerate(results, start=1):
            progress("recipes", done, len(entries))
            if isinstance(found, SweepRow):
                yield index, found
            else:
                yield index, _unfinished(entries[index], found)


def _row(
    entry: Entry, out: Path, device: str, passed_over: Collection[str], progress: StageProgress
) -> SweepRow:
    try:
        evaluation = _finished(entry, out) or run(
            entry.recipe,
            out / entry.name,
            device=device,
            reuse=_nearest(entry, out, passed_over),
            prediction_cache=out / PREDICTION_CACHE,
            progress=progress,
        )
        return _unfinished(entry).model_copy(update={"result": result_of(evaluation)})
    except Exception as error:  # of any kind: the others still run
        return _unfinished(entry, error)


def _unfinished(entry: Entry, error: Exception | None = None) -> SweepRow:
    return SweepRow(
        name=entry.name,
        description=entry.recipe.description,
        changed=entry.changed,
        result=None,
        failure=None if error is None else _one_line(error),
    )


def waits_for(recipes: Sequence[Recipe]) -> dict[int, int]:
    """Find the recipe whose finished stages each recipe of a sweep can reuse.

    Args:
        recipes: of the sweep, in order.

    Returns:
        Index of a recipe to that of the earlier one with which it shares most; recipes that share
        neither a stage nor the pretrained checkpoint with any are left out.
    """
    contents = [recipe.model_dump(mode="json") for recipe in recipes]
    after: dict[int, int] = {}
    for index, content in enumerate(contents):
        shared = [
            len(equal_stages(other, content)) + 0.5 * has_equal_pretraining(other, content)
            for other in contents[:index]
        ]
        if any(shared):
            after[index] = shared.index(max(shared))
    return after


def redraw_sweep(out: Path, extension: SweepExtension = RECIPES_ONLY) -> Path:
    """Draw a sweep's page again from its numbers and its runs.

    Args:
        out: the sweep's folder.
        extension: adds published numbers and sections to the page.

    Returns:
        The path of the page.

    Raises:
        UserError: ``sweep.json`` or a run's ``evaluation.json`` is malformed.
    """
    sweep = read_sweep(out)
    write_text(out / SWEEP_PAGE, render_sweep(sweep, extension.page_parts(sweep, out)))
    return out / SWEEP_PAGE


def _earlier(out: Path, running: set[str]) -> Sweep:
    """Read what an earlier sweep wrote about other recipes whose runs are still there."""
    if not (out / SWEEP_FILE).is_file():
        return Sweep(rows=())
    sweep = read_sweep(out)
    kept = [
        row
        for row in sweep.rows
        if row.name not in running and (out / row.name / EVALUATION_FILE).is_file()
    ]
    return sweep.model_copy(update={"rows": tuple(kept)})


def _finished(entry: Entry, out: Path) -> Evaluation | None:
    """Read the evaluation of a finished entry; its report is not drawn again."""
    folder = RunFolder(out / entry.name)
    if folder.state.exists() or not (folder.root / REPORT_FILE).is_file():
        return None
    bind_recipe(folder, entry.recipe)  # refuses the folder of another recipe
    return read_evaluation(folder.root / EVALUATION_FILE)


def _nearest(entry: Entry, out: Path, passed_over: Collection[str]) -> Path | None:
    """Find the run in a sweep's folder from which this entry can reuse most."""
    skipped = {out / name for name in (entry.name, *passed_over)}
    best, most = None, 0.0
    for path in sorted((*out.glob("*/recipe.yaml"), *out.glob("*/*/recipe.yaml"))):
        folder = RunFolder(path.parent)
        if folder.root in skipped:
            continue
        has_pretrained = pretrained_checkpoint(folder, entry.recipe) is not None
        shared = len(shared_stages(folder, entry.recipe)) + 0.5 * has_pretrained
        if shared > most:
            best, most = folder.root, shared
    return best


def _one_line(error: Exception) -> str:
    line = in_one_line(error, None)
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
