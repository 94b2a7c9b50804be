"""The metrics of a group, in reading order; add one in a file of its own and a line here."""

from typing import Any

from paramdiff.evaluation.metrics.aligned_distance import ALIGNED
from paramdiff.evaluation.metrics.base import Column, GroupMetrics, Metric, Table
from paramdiff.evaluation.metrics.diversity import (
    DISPERSION,
    DISPERSION_IN_COMPONENTS,
    DISPERSION_PER_TENSOR,
    EFFECTIVE_RANK_RATIO,
)
from paramdiff.evaluation.metrics.memorization import Z_U
from paramdiff.evaluation.metrics.nearest_neighbors import COPIES, MIN_DISTANCE, NEAREST_RATIO
from paramdiff.evaluation.metrics.score import SCORE
from paramdiff.evaluation.metrics.similarity import (
    MAX_SIMILARITY,
    MAX_SIMILARITY_WITH_SOURCE,
    PAIRWISE_SIMILARITY,
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        SCORE,
        MAX_SIMILARITY,
        MAX_SIMILARITY_WITH_SOURCE,
        PAIRWISE_SIMILARITY,
        MIN_DISTANCE,
        NEAREST_RATIO,
        COPIES,
        DISPERSION,
        DISPERSION_PER_TENSOR,
        DISPERSION_IN_COMPONENTS,
        EFFECTIVE_RANK_RATIO,
        Z_U,
        ALIGNED,
    )
}


def compute_metrics(measured: GroupMetrics, name: str) -> dict[str, Any]:
    """Compute every metric of a group.

    Args:
        measured: every group.
        name: of the group.

    Returns:
        Metric to value; None for a metric that the group does not have.
    """
    found: dict[str, Any] = {}
    for metric in METRICS.values():
        if not all(measured.has(need, name) for need in metric.needs):
            found[metric.name] = None
        elif metric.of_group is None:
            found[metric.name] = measured.groups[name].parameters.values[metric.name]
        else:
            found[metric.name] = metric.of_group(measured, name)
    return found


def columns_of(table: Table) -> list[tuple[Metric, Column]]:
    """List the columns of one of the report's tables, each with its metric."""
    return [
        (metric, column)
        for metric in METRICS.values()
        for column in metric.columns
        if column.table == table
    ]
