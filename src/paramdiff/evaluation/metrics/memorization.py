"""The data-copying test of Meehan, Chaudhuri and Dasgupta (2020).

Are generated networks nearer to the originals than held-out ones are? The test counts independent
networks. Checkpoints of one run are not: of each run, one takes part.
``benchmarks/null_tests.py`` measures how often the test accuses who copied nothing.
"""

from pathlib import Path

import torch
from pydantic import Field
from scipy.stats import mannwhitneyu
from torch import Tensor

from paramdiff.evaluation.metrics.base import Column, GroupMetrics, Metric
from paramdiff.evaluation.metrics.similarity import maximum_similarities
from paramdiff.memmap import column_moments, map_rows
from paramdiff.settings import Settings
from paramdiff.subsampling import evenly_spaced

NUM_COMPARED = 50
"""Networks on either side of the test; with more, ever smaller differences become significant."""
FEWEST_COMPARED = 10
"""Independent networks on either side, of held-out ones as many runs; below there is no test."""


class DataCopying(Settings):
    """``Z_U`` of Meehan et al. (2020) against held-out runs; far below 0 means copying."""

    n: int = Field(description="networks of the group")
    n_held_out: int
    behavior: float | None = Field(
        description="distance is 1 - IoU of wrong predictions; null if nothing is wrong"
    )
    parameters: float | None = Field(
        description="L2 distance, of the group as it is or rescaled to dispersion 1, whichever is "
        "nearer to 0; null without dispersion"
    )


def one_of_each(clusters: Tensor, seed: int) -> Tensor:
    """Draw one network of each training run.

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
    """Compute the data-copying statistic ``Z_U`` (Meehan et al. 2020, section 3).

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
    """Compute ``Z_U`` of a group as it is and stretched to dispersion 1, whichever is nearer to 0.

    Without the stretch the test would measure dispersion. By itself the stretch
    would accuse fresh networks: where a few directions hold most of the variance, chance in these
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
    """Stretch a group ``[M, P]`` about its mean to dispersion 1."""
    mean = column_moments(vectors)[0].float()
    return map_rows(
        vectors, lambda rows: mean + (rows - mean) / dispersion, vectors.shape[1], scratch
    )


def independent_rows(measured: GroupMetrics, name: str) -> Tensor:
    """Choose independent networks: one per run if runs are known, at most 50 evenly spaced ones.

    Held-out networks of the originals' runs are left out.

    Args:
        measured: every group.
        name: of the group.

    Returns:
        Row indices.
    """
    num, runs, seed = measured.num_networks(name), measured.runs_of(name), measured.bootstrap.seed
    if name == "held_out":
        if runs is None:
            return torch.arange(min(num, 1))
        known = runs.new_empty(0) if measured.runs is None else measured.runs
        fresh = (~torch.isin(runs, known)).nonzero()[:, 0]
        rows = fresh[one_of_each(runs[fresh], seed)]
    else:
        rows = torch.arange(num) if runs is None else one_of_each(runs, seed)
    return rows[evenly_spaced(len(rows), NUM_COMPARED)]


def data_copying(measured: GroupMetrics, name: str) -> DataCopying | None:
    """Test a group for data copying; None for too few independent networks on either side."""
    if name in ("held_out", "original"):
        return None
    rows, others = independent_rows(measured, name), independent_rows(measured, "held_out")
    if min(len(rows), len(others)) < FEWEST_COMPARED:
        return None
    similarity = maximum_similarities(measured, name, with_source=True)
    similarity_held_out = maximum_similarities(measured, "held_out")
    own, held_out = (measured.groups[one].parameters for one in (name, "held_out"))
    if similarity is None and own.near_rescaled is None:
        return None
    return DataCopying(
        n=len(rows),
        n_held_out=len(others),
        behavior=None
        if similarity is None or similarity_held_out is None
        else z_u(1 - similarity[rows], 1 - similarity_held_out[others]),
        parameters=None
        if own.near_rescaled is None
        else z_u_in_parameters(
            own.near_any.nearest[rows], own.near_rescaled[rows], held_out.near.nearest[others]
        ),
    )


Z_U = Metric(
    name="z_u",
    label="Data-copying test, Z<sub>U</sub>",
    section="New",
    type=DataCopying,
    needs=frozenset({"independent held-out networks"}),
    of_group=data_copying,
    explanation=(
        "Are generated networks nearer to the originals than held-out ones are (Meehan, Chaudhuri "
        "and Dasgupta 2020)? Checkpoints of one run are no independent networks, so one of each "
        "held-out run takes part, and there is no test below ten. A z-score: about 0 where both "
        "are equally near, below &minus;3 where the generated are nearer, as copies would be, "
        "above 3 where they are farther away. {% if score.info.has_errors %}In behavior the "
        "distance is 1 minus similarity; in parameters the group{% else %}The group{% endif %} is "
        "tested as it is and stretched to dispersion 1, since the test would otherwise measure "
        "dispersion; the value nearer to 0 counts.{% if evaluation.single_trajectory %} It is "
        "left out here: on one trajectory the rule of holding out decides the sign.{% endif %}"
    ),
    columns=(
        Column(
            "novelty",
            "Z<sub>U</sub> in behavior",
            "{{ dash(value.behavior if value else none, 1) }}",
            is_optional=True,
        ),
        Column(
            "novelty",
            "Z<sub>U</sub> in parameters",
            "{{ dash(value.parameters if value else none, 1) }}",
            is_optional=True,
        ),
    ),
)
"""None without held-out runs: on one trajectory the rule of holding out decides."""
