"""Distances to the originals with units in any order.

A copy whose units have traded places computes what its original does, but plain L2 calls it new.
Here each network is matched to the originals' common order, then to those that are nearest to it
there. The matching is a local search, so the distances are upper bounds.
"""

from pathlib import Path

import torch
from torch import Tensor

from paramdiff.evaluation.metrics.base import GroupMetrics, Metric
from paramdiff.evaluation.metrics.nearest_neighbors import (
    Distance,
    distance,
    neighbor_distances,
    share_of_copies,
    squared_distances,
)
from paramdiff.evaluation.trajectory import related_groups
from paramdiff.memmap import column_blocks, empty_array, free_pages
from paramdiff.permutation.align import find_permutations, match
from paramdiff.permutation.symmetry import Symmetries
from paramdiff.random import seeded_generator
from paramdiff.settings import Settings
from paramdiff.subsampling import evenly_spaced

NUM_MATCHED = 20
"""Networks of a group that are matched, evenly spaced."""
NUM_NEAREST = 2
"""Originals to which each network is matched after the common order."""

UNORDERED = (
    "The originals of different runs have hardly a value in common, as networks of independent "
    "runs: their units are in unrelated orders, so averages, Gaussians and a codec mix units that "
    "do different things. parameters.align brings them into one order."
)
"""Warning about independent runs that are not aligned."""
LEAST_COMMON = 0.1
"""Independent networks have about 0 of their squared length in common, aligned ones 0.2 and more,
checkpoints of one run nearly all."""


class Aligned(Settings):
    """Distances with units in any order, for ``n`` evenly spaced networks; upper bounds."""

    n: int
    min_distance: Distance
    copies: float | None


def are_unordered(originals: Tensor) -> bool:
    """Return whether networks ``[N, P]``, normalized per tensor, have hardly anything in common.

    Then they come from independent runs: what one does with a unit, another does with any other.
    Of several checkpoints of a run, one counts.
    """
    groups = related_groups(originals)
    if groups.max() > 0:  # the last of each: checkpoints of one run have nearly all in common
        originals = originals[[int((groups == one).nonzero()[-1]) for one in groups.unique()]]
    num = len(originals)
    if num < 2:
        return False
    lengths = together = 0.0
    for columns in column_blocks(originals):
        values = originals[:, columns].double()
        lengths += float(values.square().sum())
        together += float(values.sum(0).square().sum())
    products = together - lengths  # over ordered pairs
    return products < LEAST_COMMON * (num - 1) * lengths


class AlignedSpace:
    """The originals in a common order of units.

    Args:
        originals: ``[N, P]``, normalized per tensor.
        symmetries: of their network.
        seed: of the order in which networks and groups of units are matched.
        scratch: see ``EvaluationInputs``.
    """

    def __init__(
        self, originals: Tensor, symmetries: Symmetries, seed: int, scratch: Path | None = None
    ) -> None:
        self._symmetries, self._generator = symmetries, seeded_generator(seed, "aligned")
        self._given = originals
        places, _ = find_permutations(
            originals, symmetries, self._generator, max_rounds=1, scratch=scratch
        )
        num, size = originals.shape
        self._originals = empty_array(num, size, originals.dtype, scratch)
        for row, original in enumerate(originals):
            self._originals[row] = original[places[row]]
            for array in (originals, places, self._originals):
                free_pages(array)
        self._mean = self._originals.mean(0)

    def nearest(self, vectors: Tensor, excluded: Tensor | None = None) -> Tensor:
        """Distances of evenly spaced networks of a group to their nearest originals.

        Args:
            vectors: ``[M, P]``, normalized per tensor.
            excluded: ``[M]`` an original that does not count, for each.

        Returns:
            ``[m]``; infinite where no original is left.
        """
        rows = evenly_spaced(len(vectors), NUM_MATCHED)
        without = None if excluded is None else excluded[rows]
        plain = neighbor_distances(vectors[rows], self._given, without).nearest
        found = [
            self._distance(vectors[row], None if excluded is None else int(excluded[row]))
            for row in rows
        ]
        return torch.minimum(plain, torch.tensor(found))

    def _distance(self, vector: Tensor, excluded: int | None) -> float:
        vector = vector[match(vector, self._mean, self._symmetries, self._generator)]
        distances = squared_distances(vector[None], self._originals)[0].clamp(min=0).sqrt()
        if excluded is not None:
            distances[excluded] = torch.inf
        candidates = distances.topk(min(NUM_NEAREST, len(distances)), largest=False)
        best = float(candidates.values[0])
        for row in candidates.indices[torch.isfinite(candidates.values)]:
            original = self._originals[row]
            places = match(vector, original, self._symmetries, self._generator)
            best = min(best, float((vector[places] - original).norm()))
        return best


def _aligned(measured: GroupMetrics, name: str) -> Aligned | None:
    nearest = measured.groups[name].parameters.aligned
    of_originals = measured.groups["original"].parameters.aligned
    if nearest is None or of_originals is None:
        return None
    found = distance(nearest)
    if found is None:
        return None
    copies = None if name == "original" else share_of_copies(nearest, of_originals)
    return Aligned(n=len(nearest), min_distance=found, copies=copies)


ALIGNED = Metric(
    name="aligned",
    label="Distance in any order of units",
    section="New",
    type=Aligned,
    of_group=_aligned,
)
"""None unless the whole network is generated and its structure understood; has its own table."""
