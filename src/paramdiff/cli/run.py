"""``paramdiff run``: its options, and how a run is shown."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import loading, progress_bars, say, show_evaluation
from paramdiff.cli._options import Device, Overrides, Ray, RecipeName, Reuse


def run(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
    ray: Ray = None,
) -> None:
    """Run a recipe to its report; the same command completes an interrupted run."""
    run_and_show(recipe, out, device, overrides, reuse, ray)


def run_and_show(
    name: str,
    out: Path,
    device: str,
    overrides: list[str] | None,
    reuse: Path | None,
    ray: str | None = None,
) -> None:
    """Run a recipe, then show the evaluation and where the report is."""
    import paramdiff

    recipe = paramdiff.load_recipe(name, overrides or [])  # before torch: errors come at once
    loading()
    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected

    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as stages:
        evaluation = paramdiff.run(
            recipe, out, device=device, reuse=reuse, fan_out=fan_out, progress=stages
        )
    show_evaluation(evaluation)
    say(f"Report: {out / 'report.html'}")
