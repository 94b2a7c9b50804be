"""Are generated networks copies of the originals?

Two answers: the share that lies unusually near to one original, and the data-copying test of
Meehan, Chaudhuri and Dasgupta (2020): are generated networks nearer to the originals than held-out
ones are? The test counts independent networks. Checkpoints of one run are not: of each run, one
takes part. ``benchmarks/null_tests.py`` measures how often the test accuses who copied nothing.
"""

from pathlib import Path

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from paramdiff.memmap import column_moments, map_rows

NUM_COMPARED = 50
"""Networks on either side of the test; with more, ever smaller differences become significant."""
FEWEST_COMPARED = 10
"""Independent networks on either side, of held-out ones as many runs; below there is no test."""
COPY_DISTANCE = 0.5
"""A copy is nearer to an original than this share of the originals' median distance to their own
nearest neighbor."""


def share_of_copies(nearest: Tensor, nearest_of_originals: Tensor) -> float | None:
    """The share of a group's networks that are (nearly) originals.

    Args:
        nearest: ``[M]`` distance of each to the nearest original.
        nearest_of_originals: ``[N]``, the originals' own, themselves excluded.

    Returns:
        Between 0 and 1; None where the originals have no neighbors.
    """
    if not (torch.isfinite(nearest).all() and torch.isfinite(nearest_of_originals).all()):
        return None
    limit = COPY_DISTANCE * nearest_of_originals.median()
    return float((nearest <= limit).double().mean())


def one_of_each(clusters: Tensor, seed: int) -> Tensor:
    """Rows of one network of each training run, drawn at random.

    Args:
        clusters: ``[M]`` the run of each network.
        seed: of the draw.

    Returns:
        Row indices, one per run, in the order of the runs' numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    members = [(clusters == cluster).nonzero()[:, 0] for cluster in clusters.unique()]
    picks = [rows[torch.randint(len(rows), (1,), generator=generator)] for rows in members]
    return torch.cat(picks) if picks else torch.empty(0, dtype=torch.long)


def z_u(group: Tensor, held_out: Tensor) -> float:
    """The data-copying statistic ``Z_U`` (Meehan et al. 2020, section 3).

    The Mann-Whitney count of pairs in which the group's network is farther from the originals than
    the held-out one, as a z-score: far below 0 means copying, far above 0 that the group lies
    farther from the originals than fresh networks do. Ties count one half.

    Args:
        group: ``[m]`` distances to the nearest original.
        held_out: ``[n]``, those of networks that trained nothing.

    Returns:
        The z-score, standard normal for two samples of independent networks of one distribution.
    """
    m, n = len(group), len(held_out)
    count = mannwhitneyu(group.numpy(), held_out.numpy()).statistic
    return float((count - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5)


def z_u_in_parameters(nearest: Tensor, nearest_rescaled: Tensor, held_out: Tensor) -> float:
    """``Z_U`` of a group as it is and stretched to dispersion 1, whichever is nearer to 0.

    Without the stretch the test would measure how widely a group spreads. By itself the stretch
    would accuse fresh networks: where a few directions hold most of the spread, chance in these
    decides how far all others are stretched (2 of 202: a standard deviation of 2.6, not 1).

    Args:
        nearest: ``[m]`` distances to the nearest original.
        nearest_rescaled: ``[m]``, those of the stretched group.
        held_out: ``[n]``, those of networks that trained nothing.

    Returns:
        The z-score, at most as far from 0 as a standard normal one is for fresh networks.
    """
    return min(z_u(nearest, held_out), z_u(nearest_rescaled, held_out), key=abs)


def rescaled(vectors: Tensor, dispersion: float, scratch: Path | None = None) -> Tensor:
    """A group ``[M, P]`` stretched about its mean to dispersion 1; for scratch see ``Subject``."""
    mean = column_moments(vectors)[0].float()
    return map_rows(
        vectors, lambda rows: mean + (rows - mean) / dispersion, vectors.shape[1], scratch
    )
