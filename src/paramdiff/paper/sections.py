"""Sections of a sweep's page on the paper's tables and figures, with deviations from the paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from paramdiff.paper.comparison_table import (
    ComparisonGrid,
    ComparisonTable,
    comparison_grid,
    comparison_table,
)
from paramdiff.paper.paper_runs import PaperRun, PaperRuns
from paramdiff.paper.paper_table import FigureName, PaperTable
from paramdiff.paper.parameter_traces_figure import parameter_traces_figure
from paramdiff.paper.reverse_process_figure import reverse_process_figure
from paramdiff.paper.score_similarity_figure import score_similarity_figure
from paramdiff.paper.similarity_violins_figure import similarity_violins_figure
from paramdiff.report.style import Illustration

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
        notes=tuple(_notes(paper_table, paper_runs)),
    )


def _notes(paper_table: PaperTable, paper_runs: PaperRuns) -> list[str]:
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
