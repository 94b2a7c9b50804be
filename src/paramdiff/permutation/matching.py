"""Permute one network's channels so that its parameters lie as near as possible to a reference.

Weight matching (Ainsworth, Hayase and Srinivasa, "Git Re-Basin", 2023, section 3.2): groups are
assigned one at a time by the Hungarian method, all others held fixed, until none improves. Blocks
are assigned by their value under the best assignment of their own channels.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from paramdiff.permutation.symmetry import Group, Permutation, Symmetries

MAX_SWEEPS = 50
LEAST_GAIN = 1e-6  # of the squared length of the reference; rounding gains less


def match(
    vector: Tensor, reference: Tensor, symmetries: Symmetries, generator: torch.Generator
) -> Tensor:
    """Find the permutation of a network's channels that lies nearest to a reference.

    Args:
        vector: ``[P]``, raw or normalized; a normalization must treat all elements of a tensor
            alike.
        reference: ``[P]``.
        symmetries: permutation symmetries of the network.
        generator: source of the order in which groups are tried.

    Returns:
        Source index of each element, ``[P]``: ``vector[indices]`` is the permuted network.
    """
    indices = torch.arange(len(vector))
    product = float(vector @ reference)
    least = LEAST_GAIN * float(reference @ reference)
    settled: set[int] = set()
    for _ in range(MAX_SWEEPS):
        for index in torch.randperm(len(symmetries.groups), generator=generator).tolist():
            if index in settled:
                continue
            group = symmetries.groups[index]
            new = group.apply(indices, _best(group, vector[indices], reference))
            # the assignment is approximate if both axes of a tensor belong to the group
            improved = float(vector[new] @ reference)
            if improved > product + least:
                indices, product, settled = new, improved, set()
            settled.add(index)
        if len(settled) == len(symmetries.groups):
            break
    return indices


def _best(group: Group, vector: Tensor, reference: Tensor) -> Permutation:
    """Find the best permutation of one group, with all others held fixed."""
    value = torch.zeros(group.size, group.size, dtype=torch.float64)
    assigned = []
    for number, class_axes in enumerate(group.classes):
        num_channels = group.num_channels(number)
        products = torch.zeros(group.size * num_channels, group.size * num_channels)
        for axis in class_axes:
            wanted, found = axis.values(reference), axis.values(vector)
            products += wanted.flatten(0, 1) @ found.flatten(0, 1).T
        pairs = products.view(group.size, num_channels, group.size, num_channels).transpose(1, 2)
        channels = torch.zeros(group.size, group.size, num_channels, dtype=torch.long)
        for item in range(group.size) if num_channels > 1 else ():
            for other in range(group.size):
                channels[item, other] = _assign(pairs[item, other])
        chosen = pairs.gather(3, channels[..., None])[..., 0]
        value += chosen.sum(-1)
        assigned.append(channels)
    items = _assign(value)
    rows = torch.arange(group.size)
    return Permutation(items, tuple(channels[rows, items] for channels in assigned))


def _assign(value: Tensor) -> Tensor:
    """Assign a column to each row so that the sum is largest."""
    return torch.from_numpy(linear_sum_assignment(value.numpy(), maximize=True)[1])
