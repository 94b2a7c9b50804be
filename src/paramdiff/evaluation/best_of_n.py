"""The best of equally many networks of a group by validation score."""

import torch

from paramdiff.evaluation.bootstrap import percentile_interval
from paramdiff.evaluation.comparison_schema import BestOfN
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.subsampling import evenly_spaced


def best_of_n(measured: GroupMetrics, name: str, n: int) -> BestOfN:
    """Choose the best of ``n`` networks on validation data and score it once on test data.

    Of a group with more networks, ``n`` evenly spaced ones compete: the first ones of several
    generator seeds, or of a training run, would not stand for the group. Of equally good ones,
    the draw that names the winner is the bootstrap's.

    Args:
        measured: every group.
        name: of the group.
        n: networks that compete.

    Returns:
        The winner's scores, with an interval over repeated choices.
    """
    predictions, clusters = measured.groups[name].predictions, measured.clusters(name)
    rows = evenly_spaced(len(predictions.validation), n)
    validation = predictions.validation[rows].double().mean(1)
    tied = (validation == validation.max()).nonzero()[:, 0]
    stream = measured.stream(name)
    pick = torch.randint(len(tied), (1,), generator=measured.bootstrap.generator(stream))
    best = int(tied[pick])
    draws = measured.bootstrap.best_on(
        predictions.validation[rows],
        predictions.test[rows],
        stream,
        None if clusters is None else clusters[rows],
    )
    return BestOfN(
        n=n,
        validation_score=float(validation[best]),
        test_score=float(measured.scores(name)[rows[best]]),
        ci95=percentile_interval(draws),
        num_tied=len(tied),
    )
