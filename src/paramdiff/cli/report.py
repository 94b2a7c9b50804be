"""``paramdiff report``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import say


def report(
    run: Annotated[
        Path, typer.Argument(help="A folder with evaluation.json, or a sweep's with sweep.json.")
    ],
) -> None:
    """Draw a run's report, or a sweep's comparison, again from its numbers."""
    from paramdiff.commands.run_artifacts import refuse_unevaluated
    from paramdiff.report.page import write_report
    from paramdiff.report.sweep_schema import SWEEP_FILE

    if (run / SWEEP_FILE).is_file():
        from paramdiff.paper.paper_sweep import PAPER
        from paramdiff.runs.sweep import redraw_sweep

        say(f"Comparison: {redraw_sweep(run, PAPER)}")
        return
    refuse_unevaluated(run)
    say(f"Report: {write_report(run)}")
