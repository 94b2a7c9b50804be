"""Bring checkpoints of independent runs into common coordinates: each to the mean of all others.

The reference evolves: first each network is matched to the mean of those before it, then, round by
round, to the mean of all others, until nothing moves. Raw values are matched: on 20 and on
50 networks for MNIST that left less spread than matching normalized ones, even normalized.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.memmap import empty_array, release
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.permutation.matching import match
from paramdiff.permutation.symmetry import Symmetries
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator

MAX_ROUNDS = 6


@dataclass(frozen=True)
class Alignment:
    """A zoo in common coordinates.

    Attributes:
        originals: raw vectors ``[N, P]``; each computes what it did.
        held_out: raw vectors ``[H, P]``, matched to the mean of the originals.
        spread_before: mean squared distance of the originals to their mean, per parameter and
            with every tensor normalized.
        spread_after: the same of the rearranged ones.
        num_rounds: rounds that moved anything.
    """

    originals: Tensor
    held_out: Tensor
    spread_before: float
    spread_after: float
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
        held_out: raw vectors ``[H, P]``; they do not move the reference.
        symmetries: of their network.
        seed: of the order of networks and groups.
        progress: told how many matchings are done, and how many there are at most.

    Returns:
        The aligned zoo.
    """
    normalization = fit_normalization(originals, symmetries.layout, "tensor")
    vectors = _values(originals, symmetries)
    generator = seeded_generator(seed, "alignment")
    places, num_rounds = common_order(vectors, symmetries, generator, progress=progress)
    mean = vectors.gather(1, places).mean(0)
    moved = [
        vector[match(own, mean, symmetries, generator)]
        for vector, own in zip(held_out, _values(held_out, symmetries), strict=True)
    ]
    normalized = normalization.apply(originals.float())
    return Alignment(
        originals=originals.gather(1, places),
        held_out=torch.stack(moved) if moved else held_out,
        spread_before=_spread(normalized),
        spread_after=_spread(normalized.gather(1, places)),
        num_rounds=num_rounds,
    )


def common_order(
    vectors: Tensor,
    symmetries: Symmetries,
    generator: torch.Generator,
    *,
    max_rounds: int = MAX_ROUNDS,
    scratch: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[Tensor, int]:
    """Find for each network the order of its units that is nearest to the others'.

    Args:
        vectors: ``[N, P]``, raw or normalized per tensor.
        symmetries: of their network.
        generator: of the order of networks and groups.
        max_rounds: over all networks.
        scratch: a folder for the result where it is larger than memory.
        progress: told how many matchings are done, and how many there are at most.

    Returns:
        Where each element comes from, ``[N, P]``, and the number of rounds that moved anything.
    """
    num, size = vectors.shape
    places, total = empty_array(num, size, torch.int64, scratch), torch.zeros(size)
    for row in places:
        row.copy_(torch.arange(size))
        release(places)
    for number in range(max_rounds):
        has_moved = False
        for count, row in enumerate(torch.randperm(num, generator=generator).tolist()):
            others = total - vectors[row][places[row]] if number else total
            if num_others := num - 1 if number else count:
                current = vectors[row][places[row]]
                step = match(current, others / num_others, symmetries, generator)
                has_moved |= not torch.equal(step, torch.arange(size))
                places[row] = places[row][step]
            total = others + vectors[row][places[row]]
            release(vectors)
            release(places)
            progress(number * num + count + 1, max_rounds * num)
        if not has_moved:
            progress(max_rounds * num, max_rounds * num)
            return places, number
    return places, max_rounds


def _values(vectors: Tensor, symmetries: Symmetries) -> Tensor:
    """What is matched ``[M, P]``: all but statistics, which follow from the rest and dwarf it."""
    values = vectors.float().clone()
    for slot in symmetries.layout.slots:
        if slot.name.endswith(("running_mean", "running_var")):
            values[:, slot.start : slot.stop] = 0
    return values


def _spread(vectors: Tensor) -> float:
    return float(vectors.double().var(0, correction=0).mean())
