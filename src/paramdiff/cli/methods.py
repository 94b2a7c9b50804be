"""``paramdiff methods``: everything that ``make`` can make."""

from rich.table import Table
from rich.text import Text

from paramdiff.cli._console import console


def methods() -> None:
    """List the methods that `make` and `compare` know, with their needs and references."""
    from paramdiff.methods.registry import METHODS

    table = Table(
        title="paramdiff make NAME CHECKPOINTS --out DIR", title_justify="left", box=None
    )
    table.add_column("name", no_wrap=True)
    table.add_column("makes")
    table.add_column("needs")
    table.add_column("reference")
    for method in METHODS.values():
        if method.sample is None or method.role == "data-matched baseline":
            continue
        strengths = [f"@{one.strength}" for one in method.members if one.strength is not None]
        needs: list[str] = sorted(method.needs)
        table.add_row(
            f"{method.name}\n  {' '.join(strengths)}" if strengths else method.name,
            Text(method.phrase),
            ", ".join(needs) or "-",
            Text(method.reference or "-"),
        )
    console.print(table)
    console.print(
        "After the @ stands the strength, or how many checkpoints: swag@1.3, average@16. With +bn "
        "at the end, BatchNorm statistics are re-estimated; @validation chooses the strength by "
        "validation labels.",
        highlight=False,
    )
