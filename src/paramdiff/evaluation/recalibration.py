"""The effect of new BatchNorm statistics: generated weights meet those of another network."""

from paramdiff.evaluation.bootstrap import percentile_interval
from paramdiff.evaluation.evaluate_groups import EvaluatedGroups
from paramdiff.evaluation.further_schema import Recalibration
from paramdiff.evaluation.predictor import Predictor
from paramdiff.subsampling import evenly_spaced

NUM_RECALIBRATED = 20
"""Networks of each group; every one costs a pass over training inputs."""


def recalibration(evaluated: EvaluatedGroups, predictor: Predictor) -> dict[str, Recalibration]:
    """Accuracy before and after, of evenly spaced networks of some groups.

    Args:
        evaluated: every group's scores.
        predictor: of the task, with re-estimated statistics, too.

    Returns:
        Group to its numbers; the interval is over test examples and networks, paired on both.
    """
    assert predictor.reestimated is not None
    found = {}
    for stream, (name, group) in enumerate(evaluated.kept.items()):
        rows = evenly_spaced(len(group.raw), NUM_RECALIBRATED)
        before = evaluated.measured.groups[name].predictions.test[rows].float()
        clusters = evaluated.measured.clusters(name)
        after = predictor.reestimated.predict(group.raw[rows]).test.float()
        draws = evaluated.measured.bootstrap.means(
            after - before, stream, None if clusters is None else clusters[rows]
        )
        found[name] = Recalibration(
            n=len(rows),
            before=float(before.mean()),
            after=float(after.mean()),
            difference=float((after - before).mean()),
            ci95=percentile_interval(draws),
        )
    return found
