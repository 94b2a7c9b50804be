"""Rearrange one network's units so that its parameters lie as near to a reference as they can.

Weight matching (Ainsworth, Hayase and Srinivasa, "Git Re-Basin", 2023, section 3.2): one group
at a time is assigned by the Hungarian method while the others stay, until none can be improved.
Blocks are assigned by what they are worth with their own units assigned best.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from paramdiff.permutation.symmetry import Arrangement, Group, Symmetries

MAX_SWEEPS = 50
LEAST_GAIN = 1e-6  # of the squared length of the reference; rounding gains less


def match(
    vector: Tensor, reference: Tensor, symmetries: Symmetries, generator: torch.Generator
) -> Tensor:
    """Find the arrangement of a network's units that is nearest to a reference.

    Args:
        vector: ``[P]``, in a space where distances mean something; its normalization must treat
            all elements of a tensor alike.
        reference: ``[P]``.
        symmetries: what can trade places.
        generator: of the order in which groups are tried.

    Returns:
        Where each element comes from, ``[P]``: ``vector[places]`` is the rearranged network.
    """
    places = torch.arange(len(vector))
    product = float(vector @ reference)
    least = LEAST_GAIN * float(reference @ reference)
    settled: set[int] = set()
    for _ in range(MAX_SWEEPS):
        for index in torch.randperm(len(symmetries.groups), generator=generator).tolist():
            if index in settled:
                continue
            group = symmetries.groups[index]
            new = group.rearranged(places, _best(group, vector[places], reference))
            # a tensor both of whose sides belong to the group may have been misjudged
            improved = float(vector[new] @ reference)
            if improved > product + least:
                places, product, settled = new, improved, set()
            settled.add(index)
        if len(settled) == len(symmetries.groups):
            break
    return places


def _best(group: Group, vector: Tensor, reference: Tensor) -> Arrangement:
    """The best arrangement of one group, all others as they are."""
    worth = torch.zeros(group.size, group.size, dtype=torch.float64)
    assigned = []
    for number, class_of_units in enumerate(group.classes):
        num_units = group.num_units(number)
        products = torch.zeros(group.size * num_units, group.size * num_units)
        for place in class_of_units:
            wanted, found = place.values(reference), place.values(vector)
            products += wanted.flatten(0, 1) @ found.flatten(0, 1).T
        pairs = products.view(group.size, num_units, group.size, num_units).transpose(1, 2)
        units = torch.zeros(group.size, group.size, num_units, dtype=torch.long)
        for item in range(group.size) if num_units > 1 else ():
            for other in range(group.size):
                units[item, other] = _assign(pairs[item, other])
        chosen = pairs.gather(3, units[..., None])[..., 0]
        worth += chosen.sum(-1)
        assigned.append(units)
    items = _assign(worth)
    rows = torch.arange(group.size)
    return Arrangement(items, tuple(units[rows, items] for units in assigned))


def _assign(worth: Tensor) -> Tensor:
    """For each row the column that it gets, so that the sum is largest."""
    return torch.from_numpy(linear_sum_assignment(worth.numpy(), maximize=True)[1])
