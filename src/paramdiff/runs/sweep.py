"""Run a set of recipes, each in a folder of its own, and compare them on one page.

A run takes over every stage that another run in the sweep's folder has finished with equal
fields: recipes which differ only in later stages share their checkpoints, those which differ in
fine-tuning the pre-trained network. On several workers a recipe waits for the one that it would
take most over from. The same call completes an interrupted sweep. One recipe that fails does not
stop the others.
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
from paramdiff.paper.evidence import NOTHING
from paramdiff.paper.paper_runs import gather
from paramdiff.paper.reported import published_for
from paramdiff.parallel import FanOut
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.recipe import Recipe
from paramdiff.report.page import REPORT_FILE
from paramdiff.report.sweep_page import (
    SWEEP_FILE,
    SWEEP_PAGE,
    Sweep,
    SweepRow,
    read_sweep,
    render_sweep,
    result_of,
    write_sweep,
)
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.run import run
from paramdiff.runs.stage_fields import equal_stages, has_equal_trunk
from paramdiff.runs.sweep_entries import ANSWERS, Entry
from paramdiff.storage import write_text

Watch = Callable[[str], AbstractContextManager[StageProgress]]
"""Told a recipe's name before it runs; gives what its stages report to."""


def run_sweep(
    entries: Sequence[Entry],
    out: Path,
    *,
    device: str,
    watch: Watch,
    asked: Sequence[str] = (),
    fan_out: FanOut | None = None,
) -> Sweep:
    """Run every entry and write ``sweep.json`` and ``sweep.html`` after each.

    The paper's tables and figures take seconds to draw and join the page at the end.

    Args:
        entries: what to run.
        out: holds one folder per entry; what an earlier sweep wrote about others stays.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: see ``Watch``.
        asked: tables and figures of the paper that the page shows in any case, by name.
        fan_out: workers that run recipes side by side; in turn where there are none.

    Returns:
        One row per entry; a row without a result says why it failed.

    Raises:
        UserError: several processes of a launch do this.
    """
    refuse_several(resolve_device(device), "sweep")
    with sole_writer(out):
        return _run_all(entries, out, device, watch, asked, fan_out)


def _run_all(
    entries: Sequence[Entry],
    out: Path,
    device: str,
    watch: Watch,
    asked: Sequence[str],
    fan_out: FanOut | None,
) -> Sweep:
    before = _earlier(out, {entry.name for entry in entries})
    named = tuple(dict.fromkeys((*before.asked, *asked)))
    rows: dict[int, SweepRow] = {}
    in_order: list[SweepRow] = []
    made = _in_turn if fan_out is None else partial(_side_by_side, fan_out)
    for index, row in made(entries, out, device, watch):
        rows[index] = row
        in_order = [rows[number] for number in sorted(rows)]
        write_sweep(out, Sweep(rows=(*before.rows, *in_order), asked=named), NOTHING)
    whole = Sweep(rows=(*before.rows, *in_order), asked=named)
    write_sweep(out, whole, gather(out, _failures(whole)))
    return Sweep(rows=tuple(in_order), asked=named)


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
    """A recipe waits for the earlier one that it shares most with, if it shares anything."""
    after = waits_for([entry.recipe for entry in entries])
    job = fan_out.job(_rows_of, tuple(entries), out.absolute(), device, after)
    with watch(f"{len(entries)} recipes side by side") as progress:
        results = job.results(range(len(entries)), after)
        for done, (index, found) in enumerate(results, start=1):
            progress("recipes", done, len(entries))
            is_row = isinstance(found, SweepRow)
            yield index, found if is_row else _unfinished(entries[index], found)


def _rows_of(
    entries: tuple[Entry, ...], out: Path, device: str, after: dict[int, int]
) -> Callable[[int], SweepRow]:
    def row(index: int) -> SweepRow:
        # the folders of all others may be changing right now
        others = [e.name for i, e in enumerate(entries) if i not in (index, after.get(index))]
        return _row(entries[index], out, device, others, ignore_progress)

    return row


def _row(
    entry: Entry, out: Path, device: str, passed_over: Collection[str], progress: StageProgress
) -> SweepRow:
    try:
        evaluation = _finished(entry, out) or run(
            entry.recipe,
            out / entry.name,
            device=device,
            reuse=_nearest(entry, out, passed_over),
            answers=out / ANSWERS,
            progress=progress,
        )
        return _unfinished(entry).model_copy(update={"result": result_of(evaluation)})
    except Exception as error:  # of any part, or of the machine: the others still run
        return _unfinished(entry, error)


def _unfinished(entry: Entry, error: Exception | None = None) -> SweepRow:
    return SweepRow(
        name=entry.name,
        description=entry.recipe.description,
        changed=entry.changed,
        result=None,
        failure=None if error is None else _one_line(error),
        published=published_for(entry.name, entry.recipe),
    )


def waits_for(recipes: Sequence[Recipe]) -> dict[int, int]:
    """Which recipe of a sweep takes over what another has finished.

    Args:
        recipes: of the sweep, in order.

    Returns:
        Index of a recipe to that of the earlier one with which it shares most, where it shares a
        stage or the pre-trained network with any.
    """
    contents = [recipe.model_dump(mode="json") for recipe in recipes]
    after: dict[int, int] = {}
    for index, content in enumerate(contents):
        shared = [
            len(equal_stages(other, content)) + 0.5 * has_equal_trunk(other, content)
            for other in contents[:index]
        ]
        if any(shared):
            after[index] = shared.index(max(shared))
    return after


def redraw_sweep(out: Path) -> Path:
    """Draw a sweep's page again from its numbers and its runs.

    Args:
        out: the sweep's folder.

    Returns:
        The path of the page.

    Raises:
        UserError: ``sweep.json`` or a run's ``evaluation.json`` is not what it should be.
    """
    sweep = read_sweep(out)
    write_text(out / SWEEP_PAGE, render_sweep(sweep, gather(out, _failures(sweep))))
    return out / SWEEP_PAGE


def _earlier(out: Path, running: set[str]) -> Sweep:
    """What an earlier sweep of the same folder wrote about other recipes that are still there."""
    if not (out / SWEEP_FILE).is_file():
        return Sweep(rows=())
    sweep = read_sweep(out)
    kept = [
        row
        for row in sweep.rows
        if row.name not in running and (out / row.name / EVALUATION_FILE).is_file()
    ]
    return sweep.model_copy(update={"rows": tuple(kept)})


def _failures(sweep: Sweep) -> dict[str, str]:
    return {row.name: row.failure for row in sweep.rows if row.failure is not None}


def _finished(entry: Entry, out: Path) -> Evaluation | None:
    """The evaluation of an entry that needs no more work; its report is not drawn again."""
    folder = RunFolder(out / entry.name)
    if folder.state.exists() or not (folder.root / REPORT_FILE).is_file():
        return None
    folder.claim(entry.recipe)  # refuses the folder of another recipe
    return read_evaluation(folder.root / EVALUATION_FILE)


def _nearest(entry: Entry, out: Path, passed_over: Collection[str]) -> Path | None:
    """The run in a sweep's folder that has finished the most which this entry can take over."""
    skipped = {out / name for name in (entry.name, *passed_over)}
    best, most = None, 0.0
    for path in sorted((*out.glob("*/recipe.yaml"), *out.glob("*/*/recipe.yaml"))):
        folder = RunFolder(path.parent)
        if folder.root in skipped:
            continue
        has_trunk = folder.trunk_for(entry.recipe) is not None
        shared = len(folder.stages_for(entry.recipe)) + 0.5 * has_trunk
        if shared > most:
            best, most = folder.root, shared
    return best


def _one_line(error: Exception) -> str:
    line = in_one_line(error, None)
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
