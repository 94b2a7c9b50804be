"""Align checkpoints of independent runs by permuting the channels of each.

Weight matching (Ainsworth, Hayase and Srinivasa, "Git Re-Basin", 2023, section 3.2): groups are
assigned one at a time by the Hungarian method, all others held fixed, until none improves. Blocks
are assigned by their value under the best assignment of their own channels.

The reference evolves: each network is first matched to the mean of those before it, then, round by
round, to the mean of all others, until nothing changes. Raw values are matched: on zoos of 20
and 50 MNIST networks this left less variance than matching normalized values did, even after
normalization.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from paramdiff.memmap import empty_array, free_pages
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.permutation.symmetry import Group, Permutation, Symmetries
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator

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


MAX_ROUNDS = 6


@dataclass(frozen=True)
class Alignment:
    """An aligned zoo.

    Attributes:
        originals: raw vectors ``[N, P]``; permuted, with unchanged functions.
        held_out: raw vectors ``[H, P]``, matched to the mean of the originals.
        variance_before: mean squared distance of the originals to their mean, per parameter, with
            every tensor normalized.
        variance_after: the same after alignment.
        num_rounds: number of rounds that changed anything.
    """

    originals: Tensor
    held_out: Tensor
    variance_before: float
    variance_after: float
    num_rounds: int


def align(
    originals: Tensor,
    held_out: Tensor,
    symmetries: Symmetries,
    *,
    seed: int,
    progress: Progress = ignore_progress,
) -> Alignment:
    """Align checkpoints.

    Args:
        originals: raw vectors ``[N, P]``.
        held_out: raw vectors ``[H, P]``; they do not influence the reference.
        symmetries: permutation symmetries of their network.
        seed: seed of the order of networks and groups.
        progress: called with the matchings done and their maximum.

    Returns:
        The aligned zoo.
    """
    normalization = fit_normalization(originals, symmetries.layout, "tensor")
    vectors = _values(originals, symmetries)
    generator = seeded_generator(seed, "alignment")
    indices, num_rounds = find_permutations(vectors, symmetries, generator, progress=progress)
    mean = vectors.gather(1, indices).mean(0)
    moved = [
        vector[match(own, mean, symmetries, generator)]
        for vector, own in zip(held_out, _values(held_out, symmetries), strict=True)
    ]
    normalized = normalization.apply(originals.float())
    return Alignment(
        originals=originals.gather(1, indices),
        held_out=torch.stack(moved) if moved else held_out,
        variance_before=_variance(normalized),
        variance_after=_variance(normalized.gather(1, indices)),
        num_rounds=num_rounds,
    )


def find_permutations(
    vectors: Tensor,
    symmetries: Symmetries,
    generator: torch.Generator,
    *,
    max_rounds: int = MAX_ROUNDS,
    scratch: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[Tensor, int]:
    """Find for each network the permutation of its channels that lies nearest to the others.

    Args:
        vectors: ``[N, P]``, raw or normalized per tensor.
        symmetries: permutation symmetries of their network.
        generator: source of the order of networks and groups.
        max_rounds: maximum number of passes over all networks.
        scratch: folder for a result that is larger than memory.
        progress: called with the matchings done and their maximum.

    Returns:
        Source indices ``[N, P]``, and the number of rounds that changed anything.
    """
    num, size = vectors.shape
    indices, total = empty_array(num, size, torch.int64, scratch), torch.zeros(size)
    for row in indices:
        row.copy_(torch.arange(size))
        free_pages(indices)
    for number in range(max_rounds):
        has_moved = False
        for count, row in enumerate(torch.randperm(num, generator=generator).tolist()):
            others = total - vectors[row][indices[row]] if number else total
            if num_others := num - 1 if number else count:
                current = vectors[row][indices[row]]
                step = match(current, others / num_others, symmetries, generator)
                has_moved |= not torch.equal(step, torch.arange(size))
                indices[row] = indices[row][step]
            total = others + vectors[row][indices[row]]
            free_pages(vectors)
            free_pages(indices)
            progress(number * num + count + 1, max_rounds * num)
        if not has_moved:
            progress(max_rounds * num, max_rounds * num)
            return indices, number
    return indices, max_rounds


def _values(vectors: Tensor, symmetries: Symmetries) -> Tensor:
    """Return the values to match ``[M, P]``, without running statistics, which dwarf the rest."""
    values = vectors.float().clone()
    for slot in symmetries.layout.slots:
        if slot.name.endswith(("running_mean", "running_var")):
            values[:, slot.start : slot.stop] = 0
    return values


def _variance(vectors: Tensor) -> float:
    return float(vectors.double().var(0, correction=0).mean())
