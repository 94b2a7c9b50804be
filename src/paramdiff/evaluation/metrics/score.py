"""The task's score over the networks of a group."""

from paramdiff.evaluation.bootstrap import percentile_interval
from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.metrics.base import Column, GroupMetrics, Metric
from paramdiff.settings import Settings


class GroupScore(Settings):
    """The score over the networks of a group: accuracy, or what ``score_info`` names.

    ``ci95`` covers test examples and networks, or networks alone if examples have no score of
    their own.
    """

    mean: float
    std: float
    min: float
    max: float
    median: float
    ci95: Pair


def group_score(measured: GroupMetrics, name: str) -> GroupScore:
    """Summarize the test scores of a group's networks."""
    values = measured.scores(name)
    return GroupScore(
        mean=measured.mean_score(name),
        std=float(values.std(correction=0)),
        min=float(values.min()),
        max=float(values.max()),
        median=float(values.quantile(0.5)),
        ci95=percentile_interval(measured.mean_draws(name)),
    )


INTERVAL_PLOT = (
    "{{ interval_plot(marks[name], name, marks['original'].mean if marks.get('original') else "
    "none, score.number(value.ci95[0]) ~ ' to ' ~ score.number(value.ci95[1])) }}"
)

SCORE = Metric(
    name="score",
    label="95% interval",
    section="Good",
    type=GroupScore,
    of_group=group_score,
    explanation=(
        "{% if score.info.is_per_example %}Percentile bootstrap over {{ score.examples }} and "
        "over networks at once, 1,000 draws. It covers both the luck of the examples and that of "
        "the draw of networks. Networks of several training runs, or of several seeds of the "
        "generator, are drawn run by run, then within. Differences between groups use the same "
        "draws of examples on both sides; one{% else %}Percentile bootstrap over networks, 1,000 "
        "draws. {{ 'Each network' if score.info.selects_on_test else 'The test split' }} has one "
        "{{ score.name }} as a whole, so an interval covers the luck of the draw of networks, but "
        "not that of the examples. A difference{% endif %} of less than {{ '0.05 points' if "
        "score.info.is_fraction else '0.05% of the originals\u2019 ' ~ score.name }} counts as "
        "none, however sure it is."
    ),
    columns=(
        Column(
            "groups",
            "{{ score.reported[:1].upper() ~ score.reported[1:] }}, mean &plusmn; std"
            "{{ score.heading }}",
            "{{ score.number(value.mean) }}{% if group.n > 1 %} &plusmn; "
            "{{ score.info.deviation(value.std) }}{% endif %}",
        ),
        Column(
            "groups",
            "95% interval of the mean{{ score.heading }}",
            "{{ score.number(value.ci95[0]) }} to {{ score.number(value.ci95[1]) }}",
        ),
        Column("groups", "the same, on one scale", INTERVAL_PLOT, is_plot=True),
        Column(
            "groups",
            "Median, and lowest to highest{{ score.heading }}",
            "{% if group.n > 1 %}{{ score.number(value.median) }}<small>"
            "{{ score.number(value.min) }} to {{ score.number(value.max) }}</small>"
            "{% else %}{{ dash(none) }}{% endif %}",
        ),
    ),
)
