"""Paired comparisons of groups, and what would decide those that are undecided."""

from paramdiff.evaluation.bootstrap import percentile_interval
from paramdiff.evaluation.comparison_schema import Comparison, Needed
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.evaluation.outcome import needed


def compare(measured: GroupMetrics, name: str, reference: str) -> Comparison:
    """Compute the paired difference of mean scores, ``name`` minus ``reference``."""
    draws = measured.mean_draws(name) - measured.mean_draws(reference)
    return Comparison(
        group=name,
        reference=reference,
        reference_dispersion=measured.groups[reference].parameters.dispersion,
        difference=measured.mean_score(name) - measured.mean_score(reference),
        ci95=percentile_interval(draws),
    )


def needed_to_decide(
    measured: GroupMetrics, comparison: Comparison, margin: float | None
) -> Needed | None:
    """Estimate what would decide a comparison; see ``outcome.needed``."""
    names = comparison.group, comparison.reference
    scores = [measured.groups[name].predictions.test.double() for name in names]
    varying = [one.mean(1) for one in scores if len(one) > 1]
    of_networks = sum(float(one.var()) / len(one) for one in varying)
    by_example = scores[0].mean(0) - scores[1].mean(0)
    num_examples = len(by_example)
    of_examples = float(by_example.var()) / num_examples if num_examples > 1 else 0.0
    return needed(
        comparison.difference,
        comparison.ci95,
        margin,
        (of_networks, of_examples),
        (min(map(len, varying), default=1), num_examples),
    )
