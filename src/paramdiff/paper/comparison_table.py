"""A table of the paper with our numbers beside the published ones, in the paper's layout."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.metrics.score import GroupScore
from paramdiff.evaluation.metrics.similarity import Summary
from paramdiff.paper.paper_runs import PaperRun, PaperRuns
from paramdiff.paper.published import Published
from paramdiff.paper.table_schema import PaperTable, QuantityName, Setting
from paramdiff.report import text as words

Value = float | Pair
Read = Callable[[PaperRun], Value | None]


@dataclass(frozen=True)
class Quantity:
    """A column.

    Attributes:
        label: its heading.
        form: format of its values.
        ours: reads it from a run; None if it is only published.
        theirs: its name in ``Published``; None if nothing is published.
    """

    label: str
    form: Literal["percent", "points", "similarity", "range", "count"]
    ours: Read | None
    theirs: str | None

    @property
    def is_from_log(self) -> bool:
        """If the published value comes from the authors' logs rather than from the paper."""
        return (self.theirs or "").startswith(("log_", "minus_original"))

    def published(self, setting: Setting, published: Published | None, name: str) -> Value | None:
        """Return the published value of a setting: its table's own, or the recipe's."""
        if name in setting.published:
            return setting.published[name]
        return (
            None if published is None or self.theirs is None else getattr(published, self.theirs)
        )

    def format(self, value: Value | None, *, printed: bool = False) -> str:
        """Format a value; a ``printed`` one has the digits that the paper prints."""
        if value is None:
            return words.ABSENT
        if isinstance(value, tuple):
            return " to ".join(f"{bound:.2f}" for bound in value)
        if self.form == "count":
            return f"{value:,.0f}"
        if self.form == "similarity":
            return f"{value:.3f}"
        if self.form == "points":
            return words.points(value)
        is_coarse = printed and not self.is_from_log
        return f"{100 * value:.{1 if is_coarse else 2}f}"

    def change(self, value: Value | None, default: Value | None, *, printed: bool = False) -> str:
        """Format the difference to the default's value, in points; empty if there is none."""
        if self.form != "percent" or isinstance(value, tuple) or isinstance(default, tuple):
            return ""
        if value is None or default is None:
            return ""
        if printed and not self.is_from_log:
            return f"{100 * (value - default):+.1f}".replace("-", words.MINUS)
        return words.points(value - default)


def _score(group: str, read: Callable[[GroupScore], float]) -> Read:
    def ours(run: PaperRun) -> float | None:
        found = run.evaluation.groups.get(group)
        return None if found is None else read(found.score)

    return ours


def _similarity(group: str, read: Callable[[Summary], Value]) -> Read:
    def ours(run: PaperRun) -> Value | None:
        found = run.evaluation.groups.get(group)
        return (
            None if found is None or found.max_similarity is None else read(found.max_similarity)
        )

    return ours


def _median_similarity(group: str) -> Read:
    def ours(run: PaperRun) -> float | None:
        found = run.tensors.get(f"max_similarity/{group}")
        return None if found is None else float(np.median(found.double().numpy()))

    return ours


def _minus_original(run: PaperRun) -> float | None:
    found = run.evaluation.minus_original
    return None if found is None else found.difference


def _range(summary: Summary) -> Pair:
    return summary.min, summary.max


QUANTITIES: dict[QuantityName, Quantity] = {
    "num_parameters": Quantity("Parameters", "count", None, None),
    "original_best": Quantity(
        "Best original, %", "percent", _score("original", lambda a: a.max), "original_best"
    ),
    "original_mean": Quantity(
        "Originals, mean, %", "percent", _score("original", lambda a: a.mean), "original_mean"
    ),
    "log_original_mean": Quantity(
        "Originals, mean, %",
        "percent",
        _score("original", lambda a: a.mean),
        "log_original_mean",
    ),
    "ensemble": Quantity(
        "Ensemble, %", "percent", _score("average@all", lambda a: a.mean), "ensemble"
    ),
    "generated_best": Quantity(
        "Best generated, %", "percent", _score("generated", lambda a: a.max), "generated_best"
    ),
    "generated_mean": Quantity(
        "Generated, mean, %", "percent", _score("generated", lambda a: a.mean), "generated_mean"
    ),
    "log_generated_mean": Quantity(
        "Generated, mean, %",
        "percent",
        _score("generated", lambda a: a.mean),
        "log_generated_mean",
    ),
    "similarity_range": Quantity(
        "Maximum similarity, range", "range", _similarity("generated", _range), "similarity_range"
    ),
    "original_similarity_range": Quantity(
        "Maximum similarity, range",
        "range",
        _similarity("original", _range),
        "original_similarity_range",
    ),
    "original_similarity_median": Quantity(
        "Originals, median similarity", "similarity", _median_similarity("original"), None
    ),
    "generated_similarity_median": Quantity(
        "Generated, median similarity", "similarity", _median_similarity("generated"), None
    ),
    "minus_original": Quantity(
        "Generated minus originals, points", "points", _minus_original, "minus_original"
    ),
    "max_similarity": Quantity(
        "Maximum similarity, mean",
        "similarity",
        _similarity("generated", lambda s: s.mean),
        "log_max_similarity",
    ),
    "kde_mean": Quantity(
        "Kernel density fit, mean, %", "percent", _score("kde", lambda a: a.mean), None
    ),
    "s_kde30": Quantity("S_KDE30, mean, %", "percent", None, None),
    "sane_sub": Quantity("SANE_SUB, mean, %", "percent", None, None),
    "sane_kde30": Quantity("SANE_KDE30, mean, %", "percent", None, None),
}


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
