"""A sweep's results as ``sweep.json`` and ``sweep.html``, one row per recipe.

The page is a pure function of the numbers in ``sweep.json``, which come from each run's own
``evaluation.json``, and of the parts that an extension of the sweep adds. A recipe that failed
keeps its row, with the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import method_of
from paramdiff.report.environment import template_of
from paramdiff.report.style import GRAY, Illustration, illustrate, quiet_grid
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


WIDTH, ROW_HEIGHT, MARGIN = 9.4, 0.27, 0.9
"""Inches."""


class Compared(Protocol):
    """Numbers of a run that the figure draws."""

    @property
    def minus_original(self) -> float:
        """Generated minus original mean accuracy."""

    @property
    def minus_original_ci95(self) -> Pair:
        """Its interval."""

    @property
    def dispersion(self) -> float | None:
        """Dispersion of the generated networks."""


def differences_figure(
    results: Sequence[tuple[str, Compared, float | None]],
) -> Illustration | None:
    """Draw one line per recipe.

    Args:
        results: names, numbers and published differences, from top to bottom.

    Returns:
        The figure; None if there is no result.
    """
    if not results:
        return None
    has_published = any(published is not None for *_, published in results)
    color = method_of("generated").style.color
    places = range(len(results))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        for place, (_, result, published) in zip(places, results, strict=True):
            if published is not None:
                left.plot(100 * published, place, "o", color=GRAY, fillstyle="none", markersize=6)
            low, high = (100 * bound for bound in result.minus_original_ci95)
            left.plot([low, high], [place, place], color=color, linewidth=1.4)
            left.plot(100 * result.minus_original, place, "D", color=color, markersize=4.5)
            if result.dispersion is not None:
                right.plot(result.dispersion, place, "D", color=color, markersize=4.5)
        left.axvline(0, color=GRAY, linewidth=0.9)
        right.axvline(1, color=GRAY, linewidth=0.9)
        left.set_yticks(places, [name for name, *_ in results])
        left.set_ylim(len(results) - 0.4, -0.6)
        left.set_xlabel("generated minus original mean accuracy, points")
        right.set_xlabel("dispersion")
        right.set_xlim(left=0, right=1.05 * right.get_xlim()[1])
        quiet_grid(left, "x")
        quiet_grid(right, "x")

    return illustrate(
        draw,
        f"Generated minus original mean accuracy with its interval, and the dispersion, of "
        f"{len(results)} recipes.",
        "Left: how much more accurate the generated networks are than the checkpoints that they "
        "learned from, with 95% intervals. Right: how widely they are dispersed relative to those "
        "checkpoints; a gain at a dispersion well below 1 is what averaging gives for free."
        + (" Grey circles: the difference that was published." if has_published else ""),
        (WIDTH, MARGIN + ROW_HEIGHT * len(results)),
    )
