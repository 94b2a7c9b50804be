"""How far a group lies from the originals, in the space normalized per tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.memmap import column_blocks

NUM_CANDIDATES = 4


@dataclass(frozen=True)
class NeighborDistances:
    """Distances of a group's vectors to the originals.

    Attributes:
        nearest: ``[M]`` L2 distance to the nearest original; infinite where none is left.
        index: ``[M]`` which original that is.
        ratio: ``[M]`` of the nearest to the second-nearest distance, 0 for a copy and near 1 for
            what lies amid many; nan where there is no second.
    """

    nearest: Tensor
    index: Tensor
    ratio: Tensor


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
