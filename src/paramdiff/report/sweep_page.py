"""A sweep's results as ``sweep.json`` and ``sweep.html``, one row per recipe.

The page is a pure function of the numbers in ``sweep.json``, which come from each run's own
``evaluation.json``, and of the parts that an extension of the sweep adds. A recipe that failed
keeps its row, with the reason.
"""

from pathlib import Path

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.environment import template_of
from paramdiff.report.figures.sweep_plot import differences_figure
from paramdiff.report.sweep_schema import SWEEP_FILE, SWEEP_PAGE, PageParts, Sweep, SweepResult
from paramdiff.report.text import ShownScore
from paramdiff.storage import write_json, write_text

TEMPLATE = "sweep.html.jinja"


def result_of(evaluation: Evaluation) -> SweepResult:
    """Extract the numbers of a run that a sweep compares."""
    original, generated = evaluation.groups["original"], evaluation.groups["generated"]
    paired = evaluation.minus_original
    assert paired is not None  # every evaluation compares the two
    similarity = generated.max_similarity
    return SweepResult(
        score_info=evaluation.score_info,
        num_test=evaluation.num_test,
        n=generated.n,
        original_mean=original.score.mean,
        original_best=original.score.max,
        generated_mean=generated.score.mean,
        generated_std=generated.score.std,
        generated_best=generated.score.max,
        dispersion=generated.dispersion,
        max_similarity=None if similarity is None else similarity.mean,
        minus_original=paired.difference,
        minus_original_ci95=paired.ci95,
        headline=evaluation.verdict.headline,
    )


def write_sweep(folder: Path, sweep: Sweep, parts: PageParts) -> Path:
    """Write a sweep's numbers and its page.

    Args:
        folder: contains the runs' folders.
        sweep: the rows.
        parts: parts of the page that an extension adds.

    Returns:
        The path of the page.
    """
    write_json(folder / SWEEP_FILE, sweep.model_dump(mode="json", by_alias=True))
    write_text(folder / SWEEP_PAGE, render_sweep(sweep, parts))
    return folder / SWEEP_PAGE


def render_sweep(sweep: Sweep, parts: PageParts) -> str:
    """Render the page as HTML; see ``write_sweep``."""
    finished = [row for row in sweep.rows if row.result is not None]
    scores = {row.name: ShownScore(row.result.score_info, 0.0) for row in finished if row.result}
    return template_of(TEMPLATE).render(
        rows=sweep.rows,
        num_finished=len(finished),
        scores=scores,
        are_fractions=all(score.info.is_fraction for score in scores.values()),
        parts=parts,
        figure=differences_figure(
            [
                (row.name, row.result, parts.differences.get(row.name))
                for row in finished
                if row.result and row.result.score_info.is_fraction
            ]
        ),
    )
