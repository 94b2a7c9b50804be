"""A few of many, evenly spaced."""

import torch
from torch import Tensor


def evenly_spaced(num: int, most: int) -> Tensor:
    """At most ``most`` of ``num`` indices, the first and the last among them.

    Args:
        num: how many there are, at least 1.
        most: how many to name, at least 1; of a single one, the first.

    Returns:
        ``[min(num, most)]``, rising. In whole numbers: ``torch.linspace`` computes in single
        precision, in which the last of more than 2**24 indices lies past the end.
    """
    count = min(num, most)
    return torch.arange(count) * (num - 1) // max(count - 1, 1)
