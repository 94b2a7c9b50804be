"""Distributions with a variance per coordinate: independent Gaussian, SWAG."""

import torch
from torch import Tensor

from paramdiff.memmap import column_blocks, column_moments
from paramdiff.methods.method import Baseline, Construction, Material

SWAG_RANK = 20


def gaussian(scale: float, name: str | None = None) -> Baseline:
    """Independent normal draws per coordinate: the originals' mean, ``scale`` times their std.

    The control of Zeng et al. (arXiv 2506.07998), there at scale 1. At scale 0 all draws are the
    mean, so that one is made.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        mean, variance = (moment.float() for moment in column_moments(material.originals))
        if scale == 0:
            return Construction(mean[None])
        draw = torch.randn(count, len(mean), generator=generator)
        return Construction(draw.mul_(scale * variance.sqrt()).add_(mean))

    return Baseline(name or f"gaussian@{scale}", build, finishes=True)


def swag(scale: float) -> Baseline:
    """SWAG (Maddox et al. 2019, equation 1): half diagonal, half low-rank covariance.

    The low-rank half is spanned by the deviations of the last 20 originals from the running mean.
    ``scale`` multiplies standard deviations, as for ``gaussian``.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        one = [torch.arange(len(material.originals))]
        return Construction(_swag_draws(material.originals, one, count, scale, generator))

    return Baseline(f"swag@{scale}", build, min_originals=2, finishes=True)


def multiswag(scale: float) -> Baseline:
    """SWAG of each training run, drawn from in turn (MultiSWAG, Wilson and Izmailov 2020).

    For ``Material.has_several_trajectories``: between runs there is no network worth having.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        runs = material.runs
        assert runs is not None
        each = [(runs == run).nonzero()[:, 0] for run in runs.unique()]
        return Construction(_swag_draws(material.originals, each, count, scale, generator))

    return Baseline(f"multiswag@{scale}", build, needs_trajectories=True, finishes=True)


def _swag_draws(
    originals: Tensor,
    trajectories: list[Tensor],
    count: int,
    scale: float,
    generator: torch.Generator,
) -> Tensor:
    """``[M, P]``, from the rows ``[n]`` of one trajectory after the other."""
    vectors = torch.randn(count, originals.shape[1], generator=generator)
    weights = torch.randn(count, SWAG_RANK, generator=generator)
    for columns in column_blocks(originals):
        for number, rows in enumerate(trajectories):
            drawn = slice(number, None, len(trajectories))
            values = originals[rows, columns].double()
            numbers = torch.arange(1, len(rows) + 1)[:, None]
            deviations = (values - values.cumsum(0) / numbers)[-SWAG_RANK:].float()
            rank = len(deviations)
            diagonal = values.std(0, correction=0).float() * vectors[drawn, columns]
            low_rank = weights[drawn, :rank] @ deviations / (rank - 1) ** 0.5
            spread = scale * (diagonal + low_rank) / 2**0.5
            vectors[drawn, columns] = values.mean(0).float() + spread
    return vectors
