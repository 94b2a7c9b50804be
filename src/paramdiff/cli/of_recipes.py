"""The commands that run recipes, or tell about them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from paramdiff.cli._console import (
    console,
    errors,
    loading,
    progress_bars,
    say,
    show_evaluation,
    show_paper_tables,
    show_recipes,
    show_sweep,
)
from paramdiff.cli._options import Device, Overrides, Ray, RecipeName, Reuse
from paramdiff.progress import StageProgress


def quickstart(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/quickstart"),
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
) -> None:
    """Generate networks for scikit-learn's digits: data, training and report in about a minute."""
    _run("quickstart", out, device, overrides, reuse)


def run(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
    ray: Ray = None,
) -> None:
    """Run a recipe to its report; the same command completes an interrupted run."""
    _run(recipe, out, device, overrides, reuse, ray)


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
    loading()
    from contextlib import contextmanager

    from paramdiff.device import resolve_device
    from paramdiff.paper.paper_sweep import PAPER
    from paramdiff.parallel import connected
    from paramdiff.report.sweep_page import SWEEP_PAGE
    from paramdiff.runs.sweep import run_sweep
    from paramdiff.runs.sweep_entries import plan_sweep, requested_sections

    entries = plan_sweep(recipes, overrides or [], vary, base_recipe, PAPER)

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


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Resolve and validate a recipe; print it with its sizes and its cost; run nothing."""
    from paramdiff.recipe.schema import load_recipe, to_yaml

    resolved = load_recipe(recipe, overrides or [])  # before torch is loaded: errors come at once
    from paramdiff.commands.check import check_recipe
    from paramdiff.tasks.registry import describe_task

    description = None if resolved.task is None else describe_task(resolved.task)
    sizes = check_recipe(resolved, description)
    typer.echo(to_yaml(resolved), nl=False)
    for label, value in sizes.items():
        typer.echo(f"# {label}: {value}")


def report(
    run: Annotated[
        Path, typer.Argument(help="A folder with evaluation.json, or a sweep's with sweep.json.")
    ],
) -> None:
    """Draw a run's report, or a sweep's comparison, again from its numbers."""
    from paramdiff.commands.run_artifacts import refuse_unevaluated
    from paramdiff.report.page import write_report
    from paramdiff.report.sweep_page import SWEEP_FILE

    if (run / SWEEP_FILE).is_file():
        from paramdiff.paper.paper_sweep import PAPER
        from paramdiff.runs.sweep import redraw_sweep

        say(f"Comparison: {redraw_sweep(run, PAPER)}")
        return
    refuse_unevaluated(run)
    say(f"Report: {write_report(run)}")


def recipes() -> None:
    """List the shipped recipes, and the paper's tables and figures that `sweep` makes of them."""
    from paramdiff.paper.paper_table import load_paper_tables
    from paramdiff.recipe.listing import list_recipes

    show_recipes(list_recipes())
    show_paper_tables(list(load_paper_tables().values()))


def _run(
    name: str,
    out: Path,
    device: str,
    overrides: list[str] | None,
    reuse: Path | None,
    ray: str | None = None,
) -> None:
    from paramdiff.recipe.schema import load_recipe

    recipe = load_recipe(name, overrides or [])  # before torch is loaded: errors come at once
    loading()
    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected
    from paramdiff.runs.run import run as run_recipe

    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as stages:
        evaluation = run_recipe(
            recipe, out, device=device, reuse=reuse, fan_out=fan_out, progress=stages
        )
    show_evaluation(evaluation)
    say(f"Report: {out / 'report.html'}")
