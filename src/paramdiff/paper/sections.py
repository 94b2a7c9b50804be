"""The exhibits of a sweep's page: each as a table, a figure or both, with what differs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from paramdiff.paper.evidence import Evidence
from paramdiff.paper.exhibit import Exhibit
from paramdiff.paper.parameter_course import course
from paramdiff.paper.reverse_process import chain
from paramdiff.paper.score_similarity_planes import planes
from paramdiff.paper.similarity_violins import violins
from paramdiff.paper.table import Grid, Table, grid_of, table_of
from paramdiff.report.style import Illustration

FIGURES = {"planes": planes, "chain": chain, "violins": violins, "course": course}
NUM_PUBLISHED = 201
"""Generated networks that the paper's best values are over, in most of the authors' logs."""


@dataclass(frozen=True)
class Section:
    """One exhibit, ready for the page.

    Attributes:
        exhibit: what it is.
        table: its settings; None for a matrix or a figure alone.
        grid: its matrix; None for others.
        figure: None where nothing can be drawn.
        missing: labels of the settings without a run.
        notes: what differs from the paper.
    """

    exhibit: Exhibit
    table: Table | None
    grid: Grid | None
    figure: Illustration | None
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def sections(asked: Sequence[str], evidence: Evidence) -> list[Section]:
    """The exhibits that were asked for, and those that a run of the folder is about.

    Args:
        asked: names.
        evidence: what they are drawn from.

    Returns:
        Sections in the order of the exhibits.
    """
    shown = [one for one in evidence.exhibits if one.name in asked or evidence.is_about(one)]
    return [_section(exhibit, evidence) for exhibit in shown]


def lift_notes(found: Sequence[Section]) -> tuple[list[tuple[str, str]], list[Section]]:
    """Say once what holds for several exhibits.

    Args:
        found: sections with all of their notes.

    Returns:
        Each shared note after the exhibits that it is about, and the sections without them.
    """
    owners: dict[str, list[str]] = {}
    for section in found:
        for note in section.notes:
            owners.setdefault(note, []).append(section.exhibit.number)
    shared = {note: numbers for note, numbers in owners.items() if len(numbers) > 2}
    kept = [
        replace(one, notes=tuple(note for note in one.notes if note not in shared))
        for one in found
    ]
    return [(", ".join(numbers), note) for note, numbers in shared.items()], kept


def _section(exhibit: Exhibit, evidence: Evidence) -> Section:
    runs = [(one.label, evidence.run_of(exhibit, one)) for one in exhibit.settings]
    present = [(label, run) for label, run in runs if run is not None]
    draw = FIGURES.get(exhibit.figure or "")
    return Section(
        exhibit=exhibit,
        table=table_of(exhibit, evidence),
        grid=grid_of(exhibit, evidence),
        figure=draw(present) if draw else None,
        missing=tuple(label for label, run in runs if run is None and exhibit.needs_runs),
        notes=tuple(_notes(exhibit, evidence)),
    )


def _notes(exhibit: Exhibit, evidence: Evidence) -> list[str]:
    """What differs: whoever runs it, in these runs' base, in their fields, in their number."""
    notes = list(exhibit.differs)
    found = [(one, evidence.run_of(exhibit, one)) for one in exhibit.settings]
    runs = [run for _, run in found if run is not None]
    bases = {run.base.name for run in runs if run.is_on_other_base and run.base}
    bases |= {run.name for one, run in found if run and one.key == exhibit.default != run.name}
    if bases:
        notes.append(
            f"Base here: {' and '.join(sorted(bases))} instead of {exhibit.default}; values are "
            "not comparable, differences are."
        )
    departed: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        if run.departures and run.name not in bases:
            departed.setdefault(run.departures, []).append(run.name)
    notes += [
        f"Not run as published: {', '.join(dict.fromkeys(names))}. What differs: "
        f"{', '.join(paths)}."
        for paths, names in departed.items()
    ]
    counts = sorted({run.evaluation.groups["generated"].n for run in runs})
    if counts and "generated_best" in exhibit.columns and counts != [NUM_PUBLISHED]:
        numbers = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        notes.append(
            f"Best of {numbers} generated networks here, of about {NUM_PUBLISHED} in the paper: "
            "the best of more is higher."
        )
    return notes
