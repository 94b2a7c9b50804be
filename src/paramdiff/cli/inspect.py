"""``paramdiff inspect``: its options, and how it shows what it found."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from paramdiff.cli._console import console, loading, progress_bars, show_facts
from paramdiff.cli._options import Checkpoints, StateDictKey

if TYPE_CHECKING:
    from paramdiff.commands.inspect import Inspection

SHOWN_TENSORS = 40


def inspect(
    checkpoints: Checkpoints,
    state_dict_key: StateDictKey = None,
    all_tensors: Annotated[
        bool, typer.Option("--all", help="Also show the tensors that are equal.")
    ] = False,
) -> None:
    """Describe a set of checkpoints: what differs, what is broken, what can be generated."""
    loading()
    import paramdiff

    with progress_bars() as progress:
        found = paramdiff.inspect(checkpoints, state_dict_key=state_dict_key, progress=progress)
    show_inspection(found, all_tensors=all_tensors)


def show_inspection(inspection: "Inspection", *, all_tensors: bool) -> None:
    """Print the facts about checkpoints, and the tensors that differ."""
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
