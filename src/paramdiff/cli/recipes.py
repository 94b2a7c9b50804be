"""``paramdiff recipes``: how the shipped recipes and the paper's tables are listed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from paramdiff.cli._console import console

if TYPE_CHECKING:
    from paramdiff.paper.table_schema import PaperTable
    from paramdiff.recipe.loading import Listed

GROUPS = {
    "": "Start here",
    "small": "The paper's experiment at a laptop's size",
    "beyond": "Networks that learn from what they do",
    "main": "Normalization layers of large networks",
    "full": "All parameters of small networks",
    "ablation": "Ablations of main/cifar100_resnet18",
    "other": "Detection, segmentation and diffusion",
}


def recipes() -> None:
    """List the shipped recipes, and the paper's tables and figures that `sweep` makes of them."""
    from paramdiff.paper.table_schema import load_paper_tables
    from paramdiff.recipe.loading import list_recipes

    show_recipes(list_recipes())
    show_paper_tables(list(load_paper_tables().values()))


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


def show_paper_tables(paper_tables: Sequence["PaperTable"]) -> None:
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
    for one in paper_tables:
        runs = len({setting.key for setting in one.settings}) if one.needs_runs else 0
        command = f" ({one.measured_by})" if one.measured_by else ""
        table.add_row(one.name, str(runs), Text(one.title + command, overflow="fold"))
    console.print(table)
