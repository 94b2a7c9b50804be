"""The paper's part of a sweep's page: published columns, tables, figures and replication."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from paramdiff.paper.paper_runs import PaperRuns, gather_runs
from paramdiff.paper.published import Published
from paramdiff.paper.replication import count_signs, replications
from paramdiff.paper.sections import lift_notes, sections
from paramdiff.report.environment import template_of
from paramdiff.report.sweep_schema import SWEEP_FILE, PageParts, Sweep, SweepColumn
from paramdiff.settings import load

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
