"""The record of a group in ``evaluation.json``, from measurements."""

from torch import Tensor

from paramdiff.evaluation.group_schema import Group, SeedGroup
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.evaluation.metrics.registry import compute_metrics
from paramdiff.evaluation.metrics.similarity import pairwise_similarity


def group_record(measured: GroupMetrics, name: str) -> Group:
    """Compute every metric of a group, beside the data that it used."""
    data = measured.groups[name].data
    return Group(
        n=measured.num_networks(name),
        data_used=data.kind,
        data_split=data.split,
        images_seen=data.images_seen,
        **compute_metrics(measured, name),
    )


def seed_records(
    measured: GroupMetrics, name: str, vectors: Tensor, originals: Tensor
) -> dict[str, SeedGroup] | None:
    """Describe a group by generator seed.

    Args:
        measured: every group.
        name: of the group.
        vectors: its vectors ``[M, P]``, normalized per tensor.
        originals: ``[N, P]``, the same of the originals.

    Returns:
        Seed to its numbers; None for a single seed.
    """
    seeds, wrong = measured.groups[name].seeds, measured.wrong(name)
    if seeds is None or len(seeds.unique()) < 2:
        return None
    found = {}
    for seed in seeds.unique().tolist():
        rows = seeds == seed
        found[str(seed)] = SeedGroup(
            n=int(rows.sum()),
            score=float(measured.scores(name)[rows].mean()),
            dispersion=dispersion(vectors[rows], originals),
            pairwise_similarity=None if wrong is None else pairwise_similarity(wrong[rows]),
        )
    return found
