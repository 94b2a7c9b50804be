"""What the command line shows: progress bars with the time left, and the table of groups."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from paramdiff.evaluation.schema import Evaluation

console = Console()
errors = Console(stderr=True)


class Stages:
    """One progress bar per stage, added when the stage first reports."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a stage are finished."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)  # type: ignore[arg-type]


@contextmanager
def progress_bars() -> Iterator[Stages]:
    """Progress bars for as long as the block runs."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        yield Stages(progress)


def show_evaluation(evaluation: "Evaluation") -> None:
    """Print the table of groups, the verdict and the warnings."""
    table = Table(title=escape(evaluation.title), title_justify="left")
    table.add_column("group", no_wrap=True)
    for heading in ("n", "accuracy %", "95% interval", "similarity", "spread"):
        table.add_column(heading, justify="right")
    for name, group in evaluation.groups.items():
        accuracy, similarity, spread = group.accuracy, group.max_similarity, group.dispersion
        table.add_row(
            escape(name),
            str(group.n),
            f"{100 * accuracy.mean:.2f} ± {100 * accuracy.std:.2f}",
            f"{100 * accuracy.ci95[0]:.2f} - {100 * accuracy.ci95[1]:.2f}",
            "-" if similarity is None else f"{similarity.mean:.3f}",
            "-" if spread is None else f"{spread:.2f}",
            style="bold" if name == "generated" else None,
        )
    console.print(table)
    console.print(f"[bold]{escape(evaluation.verdict.headline)}[/bold]")
    for sentence in evaluation.verdict.sentences:
        console.print(escape(sentence))
    for warning in evaluation.verdict.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
