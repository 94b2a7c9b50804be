"""Similarity of networks: overlap (IoU) of what they get wrong in the test split (paper eq. 7).

In classification that is examples; a task with its own score may count pixels or objects.

All intersections come from one matrix product of the error indicators. Two networks without any
error are wrong on the same (empty) set: their similarity is defined as 1; one without errors
against one with errors is 0. A network with itself is 1.
"""

import torch
from torch import Tensor


def similarity_matrix(wrong: Tensor, others: Tensor) -> Tensor:
    """IoU of wrong predictions.

    Args:
        wrong: error indicators ``[M, W]``, bool.
        others: error indicators ``[N, W]`` of the same list.

    Returns:
        ``[M, N]`` in [0, 1].
    """
    assert wrong.shape[1] == others.shape[1], (wrong.shape, others.shape)
    own, other = wrong.float(), others.float()
    intersection = own @ other.T
    union = own.sum(1)[:, None] + other.sum(1) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1), torch.ones_like(union))


def maximum_similarity(wrong: Tensor, originals: Tensor, source: Tensor | None = None) -> Tensor:
    """For each network the highest similarity to an original.

    Args:
        wrong: error indicators ``[M, W]``.
        originals: error indicators ``[N, W]``.
        source: ``[M]``, the index of the original that each network was made from, which is left
            out; for the originals themselves their own indices.

    Returns:
        ``[M]``; -inf where leaving out the source leaves nothing.
    """
    matrix = similarity_matrix(wrong, originals)
    if source is not None:
        matrix[torch.arange(len(matrix)), source] = -torch.inf
    return matrix.max(1).values


def pairwise_similarity(wrong: Tensor) -> float | None:
    """Mean similarity of different networks of a group ``[M, W]``; None for one network."""
    if len(wrong) < 2:
        return None
    matrix = similarity_matrix(wrong, wrong)
    return float((matrix.sum() - matrix.diagonal().sum()) / (len(wrong) * (len(wrong) - 1)))
