"""Tables and explanations of the page that the registry of metrics describes."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from paramdiff.evaluation.metrics.base import Section, Table
from paramdiff.evaluation.metrics.registry import METRICS, columns_of
from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.environment import inline_template
from paramdiff.report.tables import Mark
from paramdiff.report.text import ShownScore

SIDE_BY_SIDE = ("generated", "held_out", "original")
"""Groups that stand side by side if there is no data-copying test."""


@dataclass(frozen=True)
class Cell:
    """HTML of a heading or of a number."""

    html: Markup
    is_plot: bool


@dataclass(frozen=True)
class MetricTable:
    """Columns of metrics, and their cells by group."""

    headings: list[Cell]
    rows: dict[str, list[Cell]]


def metric_tables(
    evaluation: Evaluation, score: ShownScore, marks: Mapping[str, Mark | None]
) -> dict[str, MetricTable]:
    """Fill the tables of metrics.

    Args:
        evaluation: the numbers.
        score: formats scores.
        marks: every group's interval on one scale.

    Returns:
        Table to its columns.
    """
    every = tuple(evaluation.groups)
    names: dict[Table, tuple[str, ...]] = {
        "groups": every,
        "novelty": every,
        "side by side": tuple(name for name in SIDE_BY_SIDE if name in every),
    }
    return {
        table: _filled(evaluation, table, groups, score, marks) for table, groups in names.items()
    }


def explanations(
    evaluation: Evaluation, score: ShownScore
) -> dict[Section, list[tuple[Markup, Markup]]]:
    """Explain every metric, by section of the page: label and text."""
    found: dict[Section, list[tuple[Markup, Markup]]] = {"Good": [], "New": []}
    for metric in METRICS.values():
        if metric.explanation:
            told = inline_template(metric.explanation).render(evaluation=evaluation, score=score)
            found[metric.section].append((Markup(metric.label), Markup(told)))
    return found


def _filled(
    evaluation: Evaluation,
    table: Table,
    names: tuple[str, ...],
    score: ShownScore,
    marks: Mapping[str, Mark | None],
) -> MetricTable:
    headings: list[Cell] = []
    rows: dict[str, list[Cell]] = {name: [] for name in names}
    for metric, column in columns_of(table):
        values = {name: getattr(evaluation.groups[name], metric.name) for name in names}
        if column.is_optional and all(value is None for value in values.values()):
            continue
        heading = inline_template(column.heading).render(score=score)
        headings.append(Cell(Markup(heading), column.is_plot))
        cell = inline_template(column.cell)
        for name, value in values.items():
            group = evaluation.groups[name]
            html = cell.render(value=value, group=group, name=name, score=score, marks=marks)
            rows[name].append(Cell(Markup(html), column.is_plot))
    return MetricTable(headings, rows)
