"""How far a group lies from the originals, in the space normalised per tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nearness:
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


def nearness(vectors: Tensor, originals: Tensor, source: Tensor | None = None) -> Nearness:
    """Measure the distance of each vector to the originals.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.
        source: ``[M]`` original to leave out for each vector.

    Returns:
        The distances.
    """
    # the matrix-product shortcut would lose the small distances that reveal copies
    exact = "donot_use_mm_for_euclid_dist"
    matrix = torch.cdist(vectors.float(), originals.float(), compute_mode=exact)
    if source is not None:
        matrix[torch.arange(len(matrix)), source] = torch.inf
    values, indices = matrix.topk(min(2, matrix.shape[1]), dim=1, largest=False)
    nearest, second = values[:, 0], values[:, -1]
    has_second = torch.isfinite(second) & (matrix.shape[1] > 1)
    ratio = torch.where(second > 0, nearest / second, torch.ones_like(nearest))
    return Nearness(nearest, indices[:, 0], torch.where(has_second, ratio, torch.nan))
