"""The table of groups as text: what the command line prints and a card shows."""

from paramdiff.evaluation.rivals import RIVALS
from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.families import ANCHORS, SUBJECTS, in_reading_order

ALWAYS = (*SUBJECTS, *RIVALS, *ANCHORS, "average@all", "average@all+bn", "greedy_soup")
"""Groups that a short table shows, beside the baselines that decide."""


def score_headings(evaluation: Evaluation) -> list[str]:
    """The headings after the group's name: count, score, interval, similarity, spread."""
    score = evaluation.score
    return [
        "n",
        f"{score.name} %" if score.is_fraction else score.name,
        "95% interval",
        "similarity",
        "spread",
    ]


def score_rows(evaluation: Evaluation) -> dict[str, list[str]]:
    """Return the cells under ``score_headings`` of the groups that matter most.

    Args:
        evaluation: the numbers of every group.

    Returns:
        Group to its cells, in reading order: what is evaluated, the baselines that decide or need
        no choice, data-matched baselines and controls. The report shows every group.
    """
    score = evaluation.score
    deciding = {found.reference for found in evaluation.frontier.values()}
    rows = {}
    for name in in_reading_order(evaluation.groups):
        if name not in ALWAYS and name not in deciding:
            continue
        group = evaluation.groups[name]
        accuracy, similarity, spread = group.accuracy, group.max_similarity, group.dispersion
        rows[name] = [
            str(group.n),
            f"{score.number(accuracy.mean)} ± {score.deviation(accuracy.std)}",
            f"{score.number(accuracy.ci95[0])} to {score.number(accuracy.ci95[1])}",
            "-" if similarity is None else f"{similarity.mean:.3f}",
            "-" if spread is None else f"{spread:.2f}",
        ]
    return rows
