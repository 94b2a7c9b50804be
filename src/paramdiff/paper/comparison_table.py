"""A table of the paper with our numbers beside the published ones, in the paper's layout."""

from dataclasses import dataclass

from paramdiff.paper.paper_runs import PaperRun, PaperRuns
from paramdiff.paper.paper_table import PaperTable, QuantityName, Setting
from paramdiff.paper.quantities import QUANTITIES, Value


@dataclass(frozen=True)
class Cell:
    """One quantity of one setting, as text.

    Attributes:
        ours: None if it is only published.
        theirs: None if it is not published.
        ours_change: difference to the run that is changed; empty if there is none.
        theirs_change: the same for the published values.
    """

    ours: str | None
    theirs: str | None
    ours_change: str = ""
    theirs_change: str = ""


@dataclass(frozen=True)
class Line:
    """One setting.

    Attributes:
        label: as the paper calls it.
        name: of the run here, or of the recipe if there is no run.
        state: why there is no number of ours; empty if there is one.
        is_default: if the others are compared with it.
        cells: one per quantity.
    """

    label: str
    name: str
    state: str
    is_default: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """A heading, the sides that have numbers, and the source of the published ones."""

    label: str
    has_ours: bool
    has_theirs: bool
    source: str


@dataclass(frozen=True)
class ComparisonTable:
    """Settings below each other, with a column for each quantity."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class ComparisonGrid:
    """A matrix of settings; each cell holds the table's quantities in their order."""

    across: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Line, ...]], ...]


def comparison_table(table: PaperTable, paper_runs: PaperRuns) -> ComparisonTable | None:
    """Build the table of all settings; None for a matrix, or if no columns are described."""
    if table.matrix is not None or not table.columns:
        return None
    lines = tuple(_line(table, setting, paper_runs) for setting in table.rows)
    headings = table.headings or tuple(QUANTITIES[name].label for name in table.columns)
    columns = []
    for place, heading in enumerate(headings):
        cells = [line.cells[place] for line in lines]
        columns.append(
            Column(
                heading,
                any(cell.ours is not None for cell in cells),
                any(cell.theirs is not None for cell in cells),
                "log" if QUANTITIES[table.columns[place]].is_from_log else "paper",
            )
        )
    return ComparisonTable(tuple(columns), lines)


def comparison_grid(table: PaperTable, paper_runs: PaperRuns) -> ComparisonGrid | None:
    """Build the matrix of settings; None if there is none."""
    matrix = table.matrix
    if matrix is None:
        return None
    return ComparisonGrid(
        tuple(matrix.across),
        tuple(
            (
                down,
                tuple(
                    _line(table, matrix.setting(down, across), paper_runs)
                    for across in matrix.across
                ),
            )
            for down in matrix.down
        ),
    )


def _line(table: PaperTable, setting: Setting, paper_runs: PaperRuns) -> Line:
    run = paper_runs.run_of(table, setting)
    columns = setting.columns or table.columns
    state = ""
    if run is None and table.needs_runs:
        state = "failed" if setting.key in paper_runs.failures else "not run"
    is_default = setting.key == table.default
    return Line(
        label=setting.label,
        name=setting.key if run is None else run.name,
        state=state,
        is_default=is_default,
        cells=tuple(_cell(table, setting, name, run, paper_runs) for name in columns),
    )


def _cell(
    table: PaperTable,
    setting: Setting,
    name: QuantityName,
    run: PaperRun | None,
    paper_runs: PaperRuns,
) -> Cell:
    quantity = QUANTITIES[name]
    ours: Value | None = None
    if name == "num_parameters":
        ours = paper_runs.sizes[setting.recipe]
    elif run is not None and quantity.ours is not None:
        ours = quantity.ours(run)
    theirs = quantity.published(setting, paper_runs.published.get(setting.key), name)
    ours_change = theirs_change = ""
    if table.default is not None and setting.key != table.default:
        published = paper_runs.published.get(table.default)
        default = quantity.published(setting.model_copy(update={"published": {}}), published, name)
        theirs_change = quantity.change(theirs, default, printed=True)
        if run is not None and run.base is not None and quantity.ours is not None:
            ours_change = quantity.change(ours, quantity.ours(run.base))
    has_ours = quantity.ours is not None or name == "num_parameters"
    return Cell(
        quantity.format(ours) if has_ours else None,
        None if theirs is None else quantity.format(theirs, printed=True),
        ours_change,
        theirs_change,
    )
