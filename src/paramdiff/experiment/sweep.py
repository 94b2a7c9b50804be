"""Run a set of recipes, each in a folder of its own, and compare them on one page.

A run takes over every stage that another run in the sweep's folder has finished with equal
fields: recipes which differ only in later stages share their checkpoints, those which differ in
fine-tuning the pre-trained network. The same call completes an interrupted sweep. One recipe that
fails does not stop the others.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from paramdiff.artefacts import write_text
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.experiment.entries import Entry
from paramdiff.experiment.evidence import gather
from paramdiff.experiment.folder import RunFolder
from paramdiff.experiment.published import published_for
from paramdiff.experiment.run import run
from paramdiff.experiment.stages import Report
from paramdiff.processes import refuse_several
from paramdiff.report.exhibits.evidence import NOTHING
from paramdiff.report.page import REPORT_FILE, read_evaluation
from paramdiff.report.sweep import (
    SWEEP_FILE,
    SWEEP_PAGE,
    Sweep,
    SweepRow,
    read_sweep,
    render_sweep,
    result_of,
    write_sweep,
)

ANSWERS = "answers"
"""A sub-folder of a sweep's: what parameter vectors answered, for the runs to share."""

Watch = Callable[[str], AbstractContextManager[Report]]
"""Told a recipe's name before it runs; gives what its stages report to."""


def run_sweep(
    entries: Sequence[Entry], out: Path, *, device: str, watch: Watch, asked: Sequence[str] = ()
) -> Sweep:
    """Run every entry and write ``sweep.json`` and ``sweep.html`` after each.

    The paper's tables and figures take seconds to draw and join the page at the end.

    Args:
        entries: what to run.
        out: holds one folder per entry; what an earlier sweep wrote about others stays.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: see ``Watch``.
        asked: tables and figures of the paper that the page shows in any case, by name.

    Returns:
        One row per entry; a row without a result says why it failed.

    Raises:
        UserError: several processes of a launch do this.
    """
    refuse_several(resolve_device(device), "sweep")
    rows: list[SweepRow] = []
    before = _earlier(out, {entry.name for entry in entries})
    named = tuple(dict.fromkeys((*before.asked, *asked)))
    for entry in entries:
        row = SweepRow(
            name=entry.name,
            description=entry.recipe.description,
            changed=entry.changed,
            result=None,
            published=published_for(entry.name, entry.recipe),
        )
        with watch(entry.name) as report:
            try:
                evaluation = _finished(entry, out) or run(
                    entry.recipe,
                    out / entry.name,
                    device=device,
                    reuse=_nearest(entry, out),
                    answers=out / ANSWERS,
                    report=report,
                )
                row = row.model_copy(update={"result": result_of(evaluation)})
            except Exception as error:  # of any part, or of the machine: the others still run
                row = row.model_copy(update={"failure": _one_line(error)})
        rows.append(row)
        write_sweep(out, Sweep(rows=(*before.rows, *rows), asked=named), NOTHING)
    whole = Sweep(rows=(*before.rows, *rows), asked=named)
    write_sweep(out, whole, gather(out, _failures(whole)))
    return Sweep(rows=tuple(rows), asked=named)


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


def _nearest(entry: Entry, out: Path) -> Path | None:
    """The run in a sweep's folder that has finished the most which this entry can take over."""
    best, most = None, 0.0
    for path in sorted((*out.glob("*/recipe.yaml"), *out.glob("*/*/recipe.yaml"))):
        folder = RunFolder(path.parent)
        if folder.root == out / entry.name:
            continue
        has_trunk = folder.trunk_for(entry.recipe) is not None
        shared = len(folder.stages_for(entry.recipe)) + 0.5 * has_trunk
        if shared > most:
            best, most = folder.root, shared
    return best


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split())
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
