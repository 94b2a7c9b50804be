"""Bring checkpoints of independent runs into common coordinates: each to the mean of all others.

The reference evolves: first each network is matched to the mean of those before it, then, round by
round, to the mean of all others, until nothing moves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.alignment.matching import match
from paramdiff.alignment.symmetry import Symmetries
from paramdiff.engine import seeded_generator
from paramdiff.parameters.normalisation import fit_normalisation

MAX_ROUNDS = 5


@dataclass(frozen=True)
class Alignment:
    """A zoo in common coordinates.

    Attributes:
        originals: raw vectors ``[N, P]``; each computes what it did.
        held_out: raw vectors ``[H, P]``, matched to the mean of the originals.
        spread_before: mean squared distance of the originals to their mean, per parameter and
            with every tensor normalised.
        spread_after: the same of the rearranged ones.
        num_rounds: rounds that moved anything, the first included.
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
    progress: Callable[[int, int], None] = lambda done, total: None,
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
    normalisation = fit_normalisation(originals, symmetries.layout, "tensor")
    vectors = normalisation.apply(originals.float())
    generator = seeded_generator(seed, "alignment")
    num = len(vectors)
    places = torch.arange(vectors.shape[1]).repeat(num, 1)
    total_steps = (MAX_ROUNDS + 1) * num + len(held_out)
    done = 0
    before = _spread(vectors)
    total = torch.zeros_like(vectors[0])
    current = vectors.clone()
    num_rounds = 0
    for round_number in range(MAX_ROUNDS + 1):
        moved = False
        for count, row in enumerate(torch.randperm(num, generator=generator).tolist()):
            others = total - current[row] if round_number else total
            divisor = num - 1 if round_number else count
            if divisor:
                step = match(current[row], others / divisor, symmetries, generator)
                moved |= bool((step != torch.arange(len(step))).any())
                places[row], current[row] = places[row][step], current[row][step]
            total = others + current[row]
            done += 1
            progress(done, total_steps)
        num_rounds += moved
        if not moved:
            break
    mean = current.mean(0)
    aligned = []
    for vector in held_out:
        step = match(normalisation.apply(vector.float()), mean, symmetries, generator)
        aligned.append(vector[step])
    progress(total_steps, total_steps)
    return Alignment(
        originals=originals.gather(1, places),
        held_out=torch.stack(aligned) if aligned else held_out,
        spread_before=before,
        spread_after=_spread(current),
        num_rounds=num_rounds,
    )


def _spread(vectors: Tensor) -> float:
    return float(vectors.double().var(0, correction=0).mean())
