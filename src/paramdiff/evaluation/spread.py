"""How widely a group spreads and how far it lies from the originals, in parameter space.

All vectors here are normalised per tensor (method.md 2.2) whatever the codec uses, so that no
tensor counts more because its values are larger.
"""

import torch
from torch import Tensor


def total_variance(vectors: Tensor) -> float:
    """Sum over coordinates of the unbiased variance over a group ``[M, P]``."""
    return float(vectors.double().var(0).sum())


def dispersion(vectors: Tensor, originals: Tensor) -> float | None:
    """Spread relative to the originals': sqrt of the ratio of total variances.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.

    Returns:
        1 for the originals themselves, 0 for copies of one vector; None where either group has
        fewer than two members or the originals are all equal.
    """
    if len(vectors) < 2 or len(originals) < 2:
        return None
    reference = total_variance(originals)
    return (total_variance(vectors) / reference) ** 0.5 if reference > 0 else None


def nearest_distance(vectors: Tensor, originals: Tensor, source: Tensor | None = None) -> Tensor:
    """L2 distance of each vector to the nearest original.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.
        source: ``[M]`` original to leave out for each vector.

    Returns:
        ``[M]``; infinite where leaving out the source leaves nothing.
    """
    return _distances(vectors, originals, source).min(1).values


def nearest_original(vectors: Tensor, originals: Tensor) -> Tensor:
    """The index ``[M]`` of the original nearest to each vector."""
    return _distances(vectors, originals, None).min(1).indices


def _distances(vectors: Tensor, originals: Tensor, source: Tensor | None) -> Tensor:
    # the matrix-product shortcut would lose the small distances that reveal copies
    exact = "donot_use_mm_for_euclid_dist"
    matrix = torch.cdist(vectors.float(), originals.float(), compute_mode=exact)
    if source is not None:
        matrix[torch.arange(len(matrix)), source] = torch.inf
    return matrix
