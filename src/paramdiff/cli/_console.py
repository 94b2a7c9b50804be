"""What the command line shows: how far it is, what it found, and the table of groups."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from paramdiff.progress import StageProgress
from paramdiff.progress_display import shown_stages

if TYPE_CHECKING:
    from paramdiff.commands.inspect import Inspection
    from paramdiff.evaluation.schema import Evaluation
    from paramdiff.evaluation.score_info import ScoreInfo
    from paramdiff.paper.exhibit import Exhibit
    from paramdiff.recipe.listing import Listed
    from paramdiff.report.sweep_page import Sweep

GROUPS = {
    "": "Start here",
    "small": "The paper's experiment at a laptop's size",
    "beyond": "Networks that learn from what they do",
    "main": "Normalization layers of large networks",
    "full": "All parameters of small networks",
    "ablation": "Ablations of main/cifar100_resnet18",
    "other": "Detection, segmentation and diffusion",
}

SHOWN_TENSORS = 40

console = Console(quiet=os.environ.get("RANK", "0") != "0")
"""Quiet in all but the main process of a launch, which names each so in the environment."""
errors = Console(stderr=True)


def say(line: str) -> None:
    """Print one line as it is; it is never broken, so that a path in it can be copied."""
    console.print(line, markup=False, soft_wrap=True)


def loading() -> None:
    """Say at once that the program is at work: libraries take seconds to load."""
    console.print("Loading libraries ...", style="dim")


@contextmanager
def progress_bars() -> Iterator[StageProgress]:
    """What shows how far stages are, for as long as the block runs."""
    with shown_stages(console) as stages:
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
    for warning in evaluation.verdict.warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}")
    show_facts({k: v for k, v in evaluation.facts.items() if k.startswith("Passed over")}, ())


def show_facts(facts: Mapping[str, str], warnings: Sequence[str]) -> None:
    """Print labels with their values, then what should be looked at first."""
    for label, value in facts.items():
        console.print(f"[bold]{label}:[/bold] {escape(value)}", highlight=False)
    for warning in warnings:
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False)


def show_inspection(inspection: "Inspection", *, all_tensors: bool) -> None:
    """Print what a set of checkpoints is, and the tensors that differ."""
    show_facts(inspection.facts, (*inspection.notes, *inspection.warnings))
    shown = [one for one in inspection.tensors if one.differs or all_tensors]
    if not shown:
        return
    table = Table(title="All tensors" if all_tensors else "Tensors that differ")
    table.add_column("tensor", overflow="fold")
    for heading in ("shape", "type", "change", "differ from the first"):
        table.add_column(heading, justify="right")
    rows = shown if all_tensors else shown[:SHOWN_TENSORS]
    for one in rows:
        change = one.relative_change
        table.add_row(
            escape(one.name),
            " x ".join(map(str, one.shape)) or "one value",
            str(one.dtype).removeprefix("torch."),
            "-" if change is None else f"{change:.1%}",
            str(one.num_differing) if one.differs else "-",
        )
    console.print(table)
    if len(rows) < len(shown):
        console.print(f"and {len(shown) - len(rows)} more; --all shows every tensor")
    console.print(
        "change: root mean square difference of the others from the first checkpoint, relative to "
        "its root mean square",
        highlight=False,
    )


def show_recipes(recipes: Sequence["Listed"]) -> None:
    """Print the shipped recipes group by group, with what their numbers mean."""
    for group, title in GROUPS.items():
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("recipe", no_wrap=True)
        table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("PFLOP", justify="right", no_wrap=True)
        table.add_column("what it is" + (", and what it changes" if group == "ablation" else ""))
        for recipe in recipes:
            if recipe.group == group:
                changes = [f"  {path}: {value}" for path, value in recipe.factors.items()]
                table.add_row(
                    recipe.name,
                    f"{recipe.num_parameters:,}",
                    _pflop(recipe.pflop),
                    Text("\n".join([recipe.description, *changes]), overflow="fold"),
                )
        console.print(table)
        console.print()
    console.print(
        "PFLOP: estimated 10^15 floating-point operations from data to report. One takes some "
        "two minutes where 10 TFLOP/s are sustained (a GPU) and some three hours at 0.1 TFLOP/s "
        "(two CPU cores).",
        highlight=False,
    )


def _pflop(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def show_exhibits(exhibits: Sequence["Exhibit"]) -> None:
    """Print the paper's tables and figures, with how many runs each needs."""
    console.print()
    table = Table(
        title="The paper's tables and figures: paramdiff sweep NAME --out DIR",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("name", no_wrap=True)
    table.add_column("runs", justify="right")
    table.add_column("what it shows")
    for exhibit in exhibits:
        runs = len({one.key for one in exhibit.settings}) if exhibit.needs_runs else 0
        told = f" ({exhibit.measured_by})" if exhibit.measured_by else ""
        table.add_row(exhibit.name, str(runs), Text(exhibit.title + told, overflow="fold"))
    console.print(table)


def show_sweep(sweep: "Sweep") -> None:
    """Print one line per finished recipe of a sweep."""
    table = Table(title="Generated networks and their originals", title_justify="left")
    table.add_column("recipe")
    results = [row.result for row in sweep.rows if row.result is not None]
    per = " %" if all(result.score_info.is_fraction for result in results) else ""
    points = ", points" if per else ""

    def shown(score: "ScoreInfo", value: float) -> str:
        return score.number(value) if per else f"{score.text(value)} {escape(score.name)}"

    for heading in (
        "n",
        f"original{per}",
        f"generated{per}",
        f"minus original{points}",
        "dispersion",
    ):
        table.add_column(heading, justify="right")
    for row in sweep.rows:
        result = row.result
        if result is None:
            table.add_row(escape(row.name), "-", "-", "failed", "-", "-")
            continue
        score = result.score_info
        low, high = (score.difference(bound) for bound in result.minus_original_ci95)
        table.add_row(
            escape(row.name),
            str(result.n),
            shown(score, result.original_mean),
            f"{shown(score, result.generated_mean)} ± {score.deviation(result.generated_std)}",
            f"{score.difference(result.minus_original)} ({low} to {high})",
            "-" if result.dispersion is None else f"{result.dispersion:.2f}",
        )
    console.print(table)
