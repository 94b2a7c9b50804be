"""The paper's part of a sweep's page: published columns, tables, figures and replication."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from paramdiff.paper.comparison_table import (
    ComparisonGrid,
    ComparisonTable,
    comparison_grid,
    comparison_table,
)
from paramdiff.paper.paper_figures import (
    parameter_traces_figure,
    reverse_process_figure,
    similarity_violins_figure,
)
from paramdiff.paper.paper_runs import PaperRun, PaperRuns, gather_runs
from paramdiff.paper.published import Published
from paramdiff.paper.replication import count_signs, replications
from paramdiff.paper.score_similarity_figure import score_similarity_figure
from paramdiff.paper.table_schema import FigureName, PaperTable
from paramdiff.report.environment import template_of
from paramdiff.report.style import Illustration
from paramdiff.report.sweep_schema import SWEEP_FILE, PageParts, Sweep, SweepColumn
from paramdiff.settings import load

FIGURES: dict[FigureName, Callable[[Sequence[tuple[str, PaperRun]]], Illustration | None]] = {
    "score_similarity": score_similarity_figure,
    "reverse_process": reverse_process_figure,
    "similarity_violins": similarity_violins_figure,
    "parameter_traces": parameter_traces_figure,
}
NUM_PUBLISHED = 201
"""Generated networks that the paper's best values are over, in most of the authors' logs."""


@dataclass(frozen=True)
class Section:
    """One table or figure, ready for the page.

    Attributes:
        paper_table: its description.
        table: numbers of its settings; None for a matrix or a figure alone.
        grid: numbers of its matrix; None if it has none.
        figure: None if nothing can be drawn.
        missing: labels of the settings without a run.
        notes: deviations from the paper.
    """

    paper_table: PaperTable
    table: ComparisonTable | None
    grid: ComparisonGrid | None
    figure: Illustration | None
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def sections(requested: Sequence[str], paper_runs: PaperRuns) -> list[Section]:
    """Build the sections of requested tables and figures, and of those that have a run.

    Args:
        requested: names of tables and figures.
        paper_runs: the runs.

    Returns:
        Sections in the order of the paper.
    """
    return [
        _section(one, paper_runs)
        for one in paper_runs.tables
        if one.name in requested or paper_runs.has_run_for(one)
    ]


def lift_notes(found: Sequence[Section]) -> tuple[list[tuple[str, str]], list[Section]]:
    """Move notes that several sections share out of them.

    Args:
        found: sections with all of their notes.

    Returns:
        Each shared note after the tables that it concerns, and the sections without these notes.
    """
    owners: dict[str, list[str]] = {}
    for section in found:
        for note in section.notes:
            owners.setdefault(note, []).append(section.paper_table.number)
    shared = {note: numbers for note, numbers in owners.items() if len(numbers) > 2}
    kept = [
        replace(one, notes=tuple(note for note in one.notes if note not in shared))
        for one in found
    ]
    return [(", ".join(numbers), note) for note, numbers in shared.items()], kept


def _section(paper_table: PaperTable, paper_runs: PaperRuns) -> Section:
    runs = [(one.label, paper_runs.run_of(paper_table, one)) for one in paper_table.settings]
    present = [(label, run) for label, run in runs if run is not None]
    draw = None if paper_table.figure is None else FIGURES[paper_table.figure]
    return Section(
        paper_table=paper_table,
        table=comparison_table(paper_table, paper_runs),
        grid=comparison_grid(paper_table, paper_runs),
        figure=draw(present) if draw else None,
        missing=tuple(label for label, run in runs if run is None and paper_table.needs_runs),
        notes=tuple(_section_notes(paper_table, paper_runs)),
    )


def _section_notes(paper_table: PaperTable, paper_runs: PaperRuns) -> list[str]:
    """List deviations: of every run, of these runs' base, of their fields, of their number."""
    notes = list(paper_table.deviations)
    found = [(one, paper_runs.run_of(paper_table, one)) for one in paper_table.settings]
    runs = [run for _, run in found if run is not None]
    bases = {run.base.name for run in runs if run.is_on_other_base and run.base}
    bases |= {run.name for one, run in found if run and one.key == paper_table.default != run.name}
    if bases:
        notes.append(
            f"Base here: {' and '.join(sorted(bases))} instead of {paper_table.default}; values "
            "are not comparable, differences are."
        )
    departed: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        if run.deviations and run.name not in bases:
            departed.setdefault(run.deviations, []).append(run.name)
    notes += [
        f"Not run as published: {', '.join(dict.fromkeys(names))}. Deviations: {', '.join(paths)}."
        for paths, names in departed.items()
    ]
    counts = sorted({run.evaluation.groups["generated"].n for run in runs})
    if counts and "generated_best" in paper_table.columns and counts != [NUM_PUBLISHED]:
        numbers = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        notes.append(
            f"Best of {numbers} generated networks here, of about {NUM_PUBLISHED} in the paper: "
            "the best of more is higher."
        )
    return notes


PACKAGE = "paramdiff.paper"


def draw_parts(sweep: Sweep, out: Path | None) -> PageParts:
    """Draw published numbers and, from the runs in a folder, tables and figures.

    Args:
        sweep: the rows.
        out: the sweep's folder; None leaves out tables, figures and the replication.

    Returns:
        Columns, notes and sections of the page.

    Raises:
        UserError: a run's ``evaluation.json``, or a published number of the rows, is malformed.
    """
    failures = {row.name: row.failure for row in sweep.rows if row.failure is not None}
    runs = None if out is None else gather_runs(out, failures)
    published = {
        row.name: load(Published, row.published, f"{SWEEP_FILE}: rows.{number}.published")
        for number, row in enumerate(sweep.rows)
        if row.published is not None
    }
    return PageParts(
        columns=tuple(_columns(published)) if published else (),
        notes=tuple(_notes(published, runs)) if published else (),
        differences={
            name: one.minus_original
            for name, one in published.items()
            if one.minus_original is not None
        },
        sections=Markup("") if runs is None else _sections(sweep.requested, runs),
    )


def _columns(published: Mapping[str, Published]) -> Iterator[SweepColumn]:
    cells: Any = template_of("published.html.jinja", PACKAGE).module
    for heading, cell in (
        ("Published: best original, best generated, %", cells.best),
        ("Published: minus originals, points", cells.minus_original),
    ):
        yield SweepColumn(
            Markup(heading), {name: Markup(cell(one)) for name, one in published.items()}
        )


def _notes(published: Mapping[str, Published], runs: PaperRuns | None) -> Iterator[Markup]:
    yield Markup(
        "Published: best accuracies from the paper; differences of means, and similarity, from "
        "the logs that the authors released, which are not always the runs behind the "
        "paper&rsquo;s tables. Their checkpoints differ from these and were chosen on test data; "
        "compare differences rather than levels."
    )
    for what, names in _deviations(published, runs).items():
        yield Markup("Not run as published: {}. Deviations: {}.").format(", ".join(names), what)


def _deviations(
    published: Mapping[str, Published], runs: PaperRuns | None
) -> dict[str, list[str]]:
    """Describe each deviation from the published runs, with the recipes that have it."""
    found: dict[str, list[str]] = {}
    for name, one in published.items():
        if not one.deviations:
            continue
        run = None if runs is None else runs.by_setting.get(name)
        if run is not None and run.is_on_other_base and run.base is not None:
            what = f"they change {run.base.name}"
        else:
            what = ", ".join(one.deviations)
        found.setdefault(what, []).append(name)
    return found


def _sections(requested: Sequence[str], runs: PaperRuns) -> Markup:
    notes, shown = lift_notes(sections(requested, runs))
    lines = replications(runs)
    pages = (
        template_of("paper_tables.html.jinja", PACKAGE).render(sections=shown, shared_notes=notes),
        template_of("replication.html.jinja", PACKAGE).render(
            replications=lines, signs=count_signs(lines)
        ),
    )
    return Markup("").join(Markup(page) for page in pages)
