"""The table of groups as text: what the command line prints and a card shows."""

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.families import in_reading_order


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
    """Each group's cells under ``score_headings``, by its name, in reading order."""
    score = evaluation.score
    rows = {}
    for name in in_reading_order(evaluation.groups):
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
