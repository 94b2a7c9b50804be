"""Distances to the nearest originals, in the space normalized per tensor, and copies."""

import torch
from torch import Tensor

from paramdiff.evaluation.metrics.base import (
    MEAN_AND_RANGE,
    Column,
    GroupMetrics,
    Metric,
    NeighborDistances,
)
from paramdiff.memmap import column_blocks
from paramdiff.settings import Settings

NUM_CANDIDATES = 4
COPY_DISTANCE = 0.5
"""A copy is nearer to an original than this share of the originals' median distance to their own
nearest neighbor."""


class Distance(Settings):
    """L2 distance to the nearest original, in the space normalized per tensor."""

    mean: float
    min: float
    max: float


def neighbor_distances(
    vectors: Tensor, originals: Tensor, source: Tensor | None = None
) -> NeighborDistances:
    """Measure the distance of each vector to the originals.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.
        source: ``[M]`` original to leave out for each vector.

    Returns:
        The distances.
    """
    indices = _candidates(vectors, originals, source)
    values = _distances(vectors, originals, indices)
    if source is not None:
        values[indices == source[:, None]] = torch.inf
    values, order = values.sort(dim=1, stable=True)
    nearest, second = values[:, 0], values[:, min(1, values.shape[1] - 1)]
    has_second = torch.isfinite(second) & (len(originals) > 1)
    ratio = torch.where(second > 0, nearest / second, torch.ones_like(nearest))
    index = indices.gather(1, order)[:, 0]
    return NeighborDistances(nearest, index, torch.where(has_second, ratio, torch.nan))


def squared_distances(vectors: Tensor, originals: Tensor) -> Tensor:
    """All squared distances by matrix products: fast, and wrong where two are nearly equal.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.

    Returns:
        ``[M, N]`` of float64; exactly 0 where all vectors and originals are equal.
    """
    squared = torch.zeros(len(vectors), len(originals), dtype=torch.float64)
    for columns in column_blocks(vectors, originals):
        center = originals[0, columns].double()
        left, right = (group[:, columns].double() - center for group in (vectors, originals))
        squared += (left**2).sum(1, keepdim=True) + (right**2).sum(1) - 2 * left @ right.T
    return squared


def _distances(vectors: Tensor, originals: Tensor, indices: Tensor) -> Tensor:
    """Distances ``[M, C]`` to some originals ``[M, C]``, by differences: these reveal copies."""
    squared = torch.zeros(indices.shape, dtype=torch.float64)
    for columns in column_blocks(vectors, originals):
        for place, chosen in enumerate(indices.T):
            difference = vectors[:, columns] - originals[chosen, columns]
            squared[:, place] += difference.double().square().sum(1)
    return squared.sqrt().to(vectors.dtype)


def _candidates(vectors: Tensor, originals: Tensor, source: Tensor | None) -> Tensor:
    """The originals ``[M, 4]`` that are nearest by matrix products."""
    squared = squared_distances(vectors, originals)
    if source is not None:
        squared[torch.arange(len(squared)), source] = torch.inf
    return squared.topk(min(NUM_CANDIDATES, len(originals)), dim=1, largest=False).indices


def share_of_copies(nearest: Tensor, nearest_of_originals: Tensor) -> float | None:
    """The share of a group's networks that are (nearly) originals.

    Args:
        nearest: ``[M]`` distance of each to the nearest original.
        nearest_of_originals: ``[N]``, the originals' own, themselves excluded.

    Returns:
        Between 0 and 1; None where the originals have no neighbors.
    """
    if not (torch.isfinite(nearest).all() and torch.isfinite(nearest_of_originals).all()):
        return None
    limit = COPY_DISTANCE * nearest_of_originals.median()
    return float((nearest <= limit).double().mean())


def distance(nearest: Tensor) -> Distance | None:
    """Summarize distances ``[M]`` to the nearest original; None if one has no original left."""
    if not torch.isfinite(nearest).all():
        return None
    return Distance(mean=float(nearest.mean()), min=float(nearest.min()), max=float(nearest.max()))


def _nearest_ratio(measured: GroupMetrics, name: str) -> float | None:
    ratio = measured.groups[name].parameters.near.ratio
    return float(ratio.mean()) if torch.isfinite(ratio).all() else None


def _copies(measured: GroupMetrics, name: str) -> float | None:
    if name == "original":
        return None
    return share_of_copies(
        measured.groups[name].parameters.near_any.nearest,
        measured.groups["original"].parameters.near.nearest,
    )


MIN_DISTANCE = Metric(
    name="min_distance",
    label="Distance to nearest original",
    section="New",
    type=Distance,
    of_group=lambda measured, name: distance(measured.groups[name].parameters.near.nearest),
    explanation=(
        "Euclidean distance between parameter vectors, each tensor normalized by the "
        "originals&rsquo; standard deviation. Nearest over second nearest is near 0 for a copy "
        "and near 1 for a network that lies amid many originals; along a training run even "
        "originals have close neighbors on both sides."
    ),
    columns=(
        Column("novelty", "Distance to nearest original", MEAN_AND_RANGE),
        Column("side by side", "Distance to nearest original", MEAN_AND_RANGE),
    ),
)
NEAREST_RATIO = Metric(
    name="nearest_ratio",
    label="Nearest over second nearest",
    section="New",
    type=float,
    of_group=_nearest_ratio,
    columns=(Column("novelty", "Nearest / second nearest", "{{ dash(value, 3) }}"),),
)
"""Mean of nearest over second-nearest distance to an original; 0 for copies."""
SHARE_CELL = "{% if value is none %}{{ dash(none) }}{% else %}{{ value | percent(1) }}{% endif %}"
COPIES = Metric(
    name="copies",
    label="Copies",
    section="New",
    type=float,
    of_group=_copies,
    explanation=(
        "The share of networks that are nearer to an original than half the originals&rsquo; "
        "median distance to their own nearest neighbor."
    ),
    columns=(
        Column("novelty", "Copies", SHARE_CELL),
        Column("side by side", "Copies", SHARE_CELL),
    ),
)
"""Not of the originals themselves."""
