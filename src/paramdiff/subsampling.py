"""Evenly spaced subsampling."""

import torch
from torch import Tensor


def evenly_spaced(num: int, most: int) -> Tensor:
    """Choose at most ``most`` of ``num`` indices, including the first and the last.

    Args:
        num: number of indices, at least 1.
        most: maximum to choose, at least 1; a single one is the first.

    Returns:
        ``[min(num, most)]``, increasing. Computed in integers, because
        ``torch.linspace`` is single precision, in which the last of more than 2**24 indices lies
        past the end.
    """
    count = min(num, most)
    return torch.arange(count) * (num - 1) // max(count - 1, 1)
