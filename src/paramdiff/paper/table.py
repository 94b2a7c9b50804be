"""An exhibit's numbers in the paper's own layout: settings below each other, or a matrix."""

from dataclasses import dataclass

from paramdiff.paper.evidence import Evidence, Run
from paramdiff.paper.exhibit import Exhibit, QuantityName, Setting
from paramdiff.paper.quantities import QUANTITIES, Value


@dataclass(frozen=True)
class Cell:
    """One quantity of one setting, as text.

    Attributes:
        ours: None where it is only published.
        theirs: None where it is not published.
        ours_change: the difference to the run that is changed; empty where there is none.
        theirs_change: the same of the published values.
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
        name: of the run here, where it is not the shipped recipe; else of the recipe.
        state: why there is nothing of ours; empty where there is.
        is_default: whether the others are compared with it.
        cells: one per quantity.
    """

    label: str
    name: str
    state: str
    is_default: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """A heading, which sides stand under it, and where what is published comes from."""

    label: str
    has_ours: bool
    has_theirs: bool
    source: str


@dataclass(frozen=True)
class Table:
    """Columns and lines; ``has_changes`` where differences to a default stand in the cells."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def has_changes(self) -> bool:
        """Whether any cell holds a difference to the default."""
        return any(
            cell.ours_change or cell.theirs_change for line in self.lines for cell in line.cells
        )


@dataclass(frozen=True)
class Grid:
    """A matrix of settings; each cell holds the exhibit's quantities in their order."""

    across: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Line, ...]], ...]


def table_of(exhibit: Exhibit, evidence: Evidence) -> Table | None:
    """The settings of an exhibit with its quantities; None for a matrix or without columns."""
    if exhibit.matrix is not None or not exhibit.columns:
        return None
    lines = tuple(_line(exhibit, setting, evidence) for setting in exhibit.rows)
    headings = exhibit.headings or tuple(QUANTITIES[name].label for name in exhibit.columns)
    columns = []
    for place, heading in enumerate(headings):
        cells = [line.cells[place] for line in lines]
        columns.append(
            Column(
                heading,
                any(cell.ours is not None for cell in cells),
                any(cell.theirs is not None for cell in cells),
                "log" if QUANTITIES[exhibit.columns[place]].is_from_log else "paper",
            )
        )
    return Table(tuple(columns), lines)


def grid_of(exhibit: Exhibit, evidence: Evidence) -> Grid | None:
    """The matrix of an exhibit; None where it has none."""
    matrix = exhibit.matrix
    if matrix is None:
        return None
    return Grid(
        tuple(matrix.across),
        tuple(
            (
                down,
                tuple(
                    _line(exhibit, matrix.setting(down, across), evidence)
                    for across in matrix.across
                ),
            )
            for down in matrix.down
        ),
    )


def _line(exhibit: Exhibit, setting: Setting, evidence: Evidence) -> Line:
    run = evidence.run_of(exhibit, setting)
    columns = setting.columns or exhibit.columns
    state = ""
    if run is None and exhibit.needs_runs:
        state = "failed" if setting.key in evidence.failures else "not run"
    is_default = setting.key == exhibit.default
    return Line(
        label=setting.label,
        name=setting.key if run is None else run.name,
        state=state,
        is_default=is_default,
        cells=tuple(_cell(exhibit, setting, name, run, evidence) for name in columns),
    )


def _cell(
    exhibit: Exhibit, setting: Setting, name: QuantityName, run: Run | None, evidence: Evidence
) -> Cell:
    quantity = QUANTITIES[name]
    ours: Value | None = None
    if name == "num_parameters":
        ours = evidence.sizes[setting.recipe]
    elif run is not None and quantity.ours is not None:
        ours = quantity.ours(run)
    theirs = quantity.published(setting, evidence.published.get(setting.key), name)
    ours_change = theirs_change = ""
    if exhibit.default is not None and setting.key != exhibit.default:
        published = evidence.published.get(exhibit.default)
        default = quantity.published(setting.model_copy(update={"published": {}}), published, name)
        theirs_change = quantity.change(theirs, default, printed=True)
        if run is not None and run.base is not None and quantity.ours is not None:
            ours_change = quantity.change(ours, quantity.ours(run.base))
    has_ours = quantity.ours is not None or name == "num_parameters"
    return Cell(
        quantity.written(ours) if has_ours else None,
        None if theirs is None else quantity.written(theirs, printed=True),
        ours_change,
        theirs_change,
    )
