"""``paramdiff sweep``: its options, and how its runs are shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from paramdiff.cli._console import console, errors, loading, progress_bars, say
from paramdiff.cli._options import Device, Overrides, Ray
from paramdiff.progress import StageProgress

if TYPE_CHECKING:
    from paramdiff.evaluation.score_info import ScoreInfo
    from paramdiff.report.sweep_schema import Sweep


def sweep(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE",
            help="Recipes, patterns of names ('ablation/noise_*'), or tables and figures of the "
            "paper: table3a, 'figure*'.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Holds one folder per recipe, and the comparison.")],
    device: Device = "auto",
    overrides: Overrides = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="PATH=VALUE,VALUE,...", help="Run one recipe once per value."),
    ] = None,
    base_recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE", help="What ablations change, instead of the recipe they extend."
        ),
    ] = None,
    ray: Ray = None,
) -> None:
    """Run several recipes, sharing equal stages, and compare them; the same command resumes."""
    from paramdiff.paper.paper_sweep import PAPER
    from paramdiff.runs.sweep_entries import plan_sweep, requested_sections

    # before torch is loaded: errors come at once
    entries = plan_sweep(recipes, overrides or [], vary, base_recipe, PAPER)
    loading()
    from contextlib import contextmanager

    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected
    from paramdiff.report.sweep_schema import SWEEP_PAGE
    from paramdiff.runs.sweep import run_sweep

    @contextmanager
    def watch(name: str) -> Iterator[StageProgress]:
        console.print(f"[bold]{escape(name)}[/bold]")
        with progress_bars() as stages:
            yield stages

    with connected(ray, resolve_device(device)) as fan_out:
        finished = run_sweep(
            entries,
            out,
            device=device,
            watch=watch,
            requested=requested_sections(recipes, PAPER),
            fan_out=fan_out,
            extension=PAPER,
        )
    show_sweep(finished)
    say(f"Comparison: {out / SWEEP_PAGE}")
    failed = [row for row in finished.rows if row.failure is not None]
    for row in failed:
        errors.print(
            f"failed: {row.name}: {row.failure}", markup=False, highlight=False, soft_wrap=True
        )
    if failed:
        raise typer.Exit(1)


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
