"""Output of the command line: progress, facts, and the table of groups."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paramdiff.progress import StageProgress
from paramdiff.progress_display import show_progress

if TYPE_CHECKING:
    from paramdiff.evaluation.schema import Evaluation


console = Console(quiet=os.environ.get("RANK", "0") != "0", emoji=False)
"""Quiet in all but the main process of a launch, which names each so in the environment."""
errors = Console(stderr=True, emoji=False)


def say(line: str) -> None:
    """Print one line as it is; it is never broken, so that a path in it can be copied."""
    console.print(line, markup=False, soft_wrap=True)


def loading() -> None:
    """Say at once that the program is at work: libraries take seconds to load."""
    console.print("Loading libraries ...", style="dim")


@contextmanager
def progress_bars() -> Iterator[StageProgress]:
    """Show the progress of stages for as long as the block runs."""
    with show_progress(console) as stages:
        yield stages


def show_evaluation(evaluation: "Evaluation") -> None:
    """Print the table of groups, the verdict and the warnings."""
    from paramdiff.report.tables import score_headings, score_rows

    table = Table(title=escape(evaluation.title), title_justify="left")
    table.add_column("group", no_wrap=True)
    for heading in score_headings(evaluation):
        table.add_column(escape(heading), justify="right")
    for name, cells in score_rows(evaluation).items():
        table.add_row(escape(name), *cells, style="bold" if name == "generated" else None)
    console.print(table)
    console.print(f"[bold]{escape(evaluation.verdict.headline)}[/bold]")
    for sentence in evaluation.verdict.sentences:
        console.print(escape(sentence))
    show_commands(evaluation)
    for warning in evaluation.verdict.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
    show_facts({k: v for k, v in evaluation.facts.items() if k.startswith("Skipped")}, ())


def show_commands(evaluation: "Evaluation") -> None:
    """Print the commands that make the winners of a ranking."""
    ranking = evaluation.ranking
    if ranking is None:
        return
    uses = {"one network": ranking.single, "used together": ranking.ensemble}
    for use, answer in (uses | {"many networks": ranking.diverse}).items():
        if answer is not None and answer.command is not None:
            say(f"Make it ({use}): {answer.command}")


def show_facts(facts: Mapping[str, str], warnings: Sequence[str]) -> None:
    """Print labels with their values, then what should be looked at first."""
    for label, value in facts.items():
        console.print(f"[bold]{label}:[/bold] {escape(value)}", highlight=False)
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False)
