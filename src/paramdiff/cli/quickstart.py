"""``paramdiff quickstart``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._options import Device, Overrides, Reuse
from paramdiff.cli.run import run_and_show


def quickstart(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/quickstart"),
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
) -> None:
    """Generate networks for scikit-learn's digits: data, training and report in about a minute."""
    run_and_show("quickstart", out, device, overrides, reuse)
