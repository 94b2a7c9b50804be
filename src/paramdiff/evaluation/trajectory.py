"""A test of whether the originals form one trajectory, several, or none.

Along a training run each checkpoint is near the one before it. Then held-out checkpoints from its
tail are no independent draws: how they were held out would decide any test of novelty. Networks of
independent runs share nothing, whatever their files are called.
"""

import math

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.evaluation.metrics.nearest_neighbors import squared_distances
from paramdiff.settings import Settings

SIGNIFICANT = 0.01
"""The p-value from which the originals count as one trajectory."""
NUM_ORDERS = 999
LEAST_SHARED = 0.2
"""Cosine from which two networks share a start; that of independent ones is about 0."""
CHANCE = 4.0
"""Standard deviations of the cosine of independent values that are put down to chance."""
FEWEST_VALUES = 64
"""With fewer, nobody can tell chance from what is shared."""


class Trajectory(Settings):
    """Order of the originals as their distances show it."""

    step_ratio: float = Field(
        description="mean distance of successive originals of a run over that of any two of it; "
        "about 1 for independent networks"
    )
    p_value: float = Field(
        description="share of random orders (within runs) with successive distances as short"
    )
    num_runs: int = Field(1, description="training runs, as far as folders and names tell")
    between_runs: float | None = Field(
        None,
        description="mean distance of originals of different runs over that of two of one; null "
        "for one run",
    )
    num_unrelated: int = Field(
        1,
        description="groups of originals that share hardly a value, as those of independent runs "
        "do, whatever folders and names tell",
    )

    @property
    def is_ordered(self) -> bool:
        """Return whether successive originals are nearer to each other than chance allows."""
        return self.p_value <= SIGNIFICANT

    @property
    def is_found(self) -> bool:
        """Return whether all of them lie along one run."""
        return self.is_ordered and self.num_runs == 1 and self.num_unrelated == 1


def trajectory_of(originals: Tensor, seed: int, runs: Tensor | None = None) -> Trajectory | None:
    """Test whether successive originals ``[N, P]`` are near each other (a permutation test).

    Args:
        originals: in the order in which they were saved, run by run.
        seed: of the random orders.
        runs: ``[N]`` number of the run of each, as far as is known: successive ones of one run are
            compared with any two of one run, and orders change within runs.

    Returns:
        The outcome; None for fewer than 8 originals, where no run has three, or where all are
        equal or one is not finite.
    """
    num = len(originals)
    runs = (
        torch.zeros(num, dtype=torch.long) if runs is None else runs.unique(return_inverse=True)[1]
    )
    if num < 8 or int(runs.bincount().max()) < 3:
        return None
    distances = squared_distances(originals, originals).clamp(min=0).sqrt().fill_diagonal_(0)
    same = runs[:, None] == runs
    typical = float(distances[same].sum() / (int(same.sum()) - num))
    if typical == 0 or not math.isfinite(float(distances.sum())):
        return None
    generator = torch.Generator().manual_seed(seed)
    orders = (torch.rand(NUM_ORDERS, num, generator=generator) + runs).argsort(1)
    rows = runs.argsort(stable=True)
    follows = runs[rows][1:] == runs[rows][:-1]
    steps = distances[orders[:, :-1], orders[:, 1:]][:, follows].mean(1)
    found = float(distances[rows[:-1], rows[1:]][follows].mean())
    p_value = (1 + int((steps <= found).sum())) / (NUM_ORDERS + 1)
    return Trajectory(
        step_ratio=found / typical,
        p_value=p_value,
        num_runs=int(runs.max()) + 1,
        between_runs=None if same.all() else float(distances[~same].mean()) / typical,
        num_unrelated=int(related_groups(originals).max()) + 1,
    )


def related_groups(networks: Tensor) -> Tensor:
    """Networks that share a start, directly or through others; those of independent runs do not.

    Args:
        networks: ``[N, P]``, each tensor about its mean.

    Returns:
        ``[N]`` number of the group of each, counted from 0; all of one where there are too few
        values to tell.
    """
    num, size = networks.shape
    groups = torch.arange(num)
    if size < FEWEST_VALUES:
        return torch.zeros_like(groups)
    lengths = squared_distances(networks, torch.zeros_like(networks[:1]))
    products = (lengths + lengths.T - squared_distances(networks, networks)) / 2
    cosines = products / (lengths * lengths.T).sqrt().clamp(min=1e-30)
    shares = cosines >= max(LEAST_SHARED, CHANCE / size**0.5)
    for row in range(num):  # all that row's network shares something with become one group
        joined = torch.unique(torch.cat([groups[shares[row]], groups[row][None]]))
        groups[torch.isin(groups, joined)] = joined.min()
    return groups.unique(return_inverse=True)[1]
