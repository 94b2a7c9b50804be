"""Tables of the page: the groups, the metrics by section, and the marks that show intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.base import Section, Table
from paramdiff.evaluation.metrics.registry import METRICS, columns_of
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import in_reading_order, method_of, role_of
from paramdiff.methods.registry import METHODS
from paramdiff.report.environment import inline_template
from paramdiff.report.text import ShownScore

NUM_CANDIDATES = 3
"""Candidates of each use that a short table shows, the winner first."""
ALWAYS = ("average@all", "average@all+bn", "greedy_soup")
"""Baselines that a short table shows, beside those that decide and all other groups."""


def score_headings(evaluation: Evaluation) -> list[str]:
    """Return the headings after the group's name."""
    score = evaluation.score_info
    return [
        "n",
        f"{score.name} %" if score.is_fraction else score.name,
        "95% interval",
        "similarity",
        "dispersion",
    ]


def score_rows(evaluation: Evaluation) -> dict[str, list[str]]:
    """Return the cells under ``score_headings`` of the groups that matter most.

    Args:
        evaluation: the numbers of every group.

    Returns:
        Group to its cells, in reading order: what is evaluated, the baselines that decide or need
        no choice, data-matched baselines and controls; of a ranking, the first candidates. The
        report shows every group.
    """
    score = evaluation.score_info
    rows = {}
    for name in in_reading_order(_shown(evaluation)):
        group = evaluation.groups[name]
        similarity, dispersion = group.max_similarity, group.dispersion
        rows[name] = [
            str(group.n),
            f"{score.number(group.score.mean)} ± {score.deviation(group.score.std)}",
            f"{score.number(group.score.ci95[0])} to {score.number(group.score.ci95[1])}",
            "-" if similarity is None else f"{similarity.mean:.3f}",
            "-" if dispersion is None else f"{dispersion:.2f}",
        ]
    return rows


def _shown(evaluation: Evaluation) -> list[str]:
    """Choose the groups of a short table."""
    ranking = evaluation.ranking
    if ranking is not None:
        answers = [ranking.single, ranking.ensemble, ranking.diverse]
        return [
            "original",
            *(name for name in evaluation.groups if method_of(name).name not in METHODS),
            *{
                one.group: None
                for answer in answers
                if answer is not None
                for one in answer.candidates[:NUM_CANDIDATES]
                if one.group != "original" and method_of(one.group).name in METHODS
            },
        ]
    kept = {*ALWAYS, *(found.reference for found in evaluation.frontier.values())}
    return [name for name in evaluation.groups if role_of(name) != "baseline" or name in kept]


ERRORS_SHOWN = 2.5
"""Groups that err this many times as often as the originals are still on the scale."""


@dataclass(frozen=True)
class Mark:
    """A mean and its interval as positions from 0 (left) to 100 (right)."""

    low: float
    mean: float
    high: float


def lowest_shown(evaluation: Evaluation) -> float:
    """Return the lowest score on the scale: a network at chance would squeeze all others.

    The generated networks are always on the scale, however bad they are.
    """
    if not evaluation.score_info.is_fraction:
        return _lowest_of_any(evaluation.groups)
    groups = evaluation.groups
    errors = []
    if "original" in groups:
        smallest = 2 / max(evaluation.num_test, 1)
        errors.append(ERRORS_SHOWN * max(1 - groups["original"].score.mean, smallest))
    if "generated" in groups:
        errors.append(1.1 * (1 - groups["generated"].score.ci95[0]))
    return 1 - min(max(errors, default=1.0), 1.0)


def _lowest_of_any(groups: Mapping[str, Group]) -> float:
    """Return the bound of scores without a maximum: below the worst original or generated one.

    The way is as far as the best of all groups lies above it.
    """
    best = max((group.score.mean for group in groups.values()), default=0.0)
    subjects = [groups[name].score for name in ("original", "generated") if name in groups]
    worst = min((min(one.min, one.ci95[0]) for one in subjects), default=best)
    return worst - (best - worst)


def marks(evaluation: Evaluation) -> dict[str, Mark | None]:
    """Place every group's interval on one scale; None for groups that lie below it."""
    shown = _on_scale(evaluation.groups, lowest_shown(evaluation))
    bounds = [bound for group in shown.values() for bound in group.score.ci95]
    place = _scale(min(bounds, default=0.0), max(bounds, default=1.0))
    return {
        name: Mark(
            place(group.score.ci95[0]),
            place(group.score.mean),
            place(group.score.ci95[1]),
        )
        if name in shown
        else None
        for name, group in evaluation.groups.items()
    }


def differences(evaluation: Evaluation) -> tuple[list[Mark | None], float]:
    """Place the intervals of paired comparisons on one scale, and 0 with them.

    Comparisons with groups below ``lowest_shown`` have no place.
    """
    lowest = lowest_shown(evaluation)
    shown = [
        comparison
        for comparison in evaluation.comparisons
        if comparison.reference not in evaluation.groups
        or evaluation.groups[comparison.reference].score.mean >= lowest
    ]
    bounds = [0.0, *(bound for comparison in shown for bound in comparison.ci95)]
    place = _scale(min(bounds), max(bounds))
    return [
        Mark(place(comparison.ci95[0]), place(comparison.difference), place(comparison.ci95[1]))
        if comparison in shown
        else None
        for comparison in evaluation.comparisons
    ], place(0.0)


def _scale(low: float, high: float) -> Callable[[float], float]:
    """Map scores linearly, from 2 at ``low`` to 98 at ``high``."""
    width = (high - low) or 1.0
    return lambda value: round(2 + 96 * (value - low) / width, 2)


def _on_scale(groups: Mapping[str, Group], lowest: float) -> dict[str, Group]:
    return {name: group for name, group in groups.items() if group.score.mean >= lowest}


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
