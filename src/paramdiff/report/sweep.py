"""A sweep's page: one row per recipe, ``sweep.json`` and ``sweep.html``.

The page is a pure function of the numbers in ``sweep.json``, which come from each run's own
``evaluation.json``; a recipe that failed keeps its row and says why.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from paramdiff.artefacts import write_json, write_text
from paramdiff.evaluation.schema import Evaluation, Pair
from paramdiff.evaluation.score import Score
from paramdiff.report.page import template_of
from paramdiff.report.shown_score import ShownScore
from paramdiff.report.sweep_figure import differences_figure
from paramdiff.settings import Settings

SWEEP_FILE = "sweep.json"
SWEEP_PAGE = "sweep.html"
TEMPLATE = "sweep.html.jinja"


class SweepResult(Settings):
    """What one recipe's run measured, by the score that it names."""

    score: Score = Field(Score(), description="what means, bests and differences are of")
    num_test: int
    n: int = Field(description="generated networks")
    original_mean: float
    original_best: float = Field(description="on test data: the published habit, which flatters")
    generated_mean: float
    generated_std: float
    generated_best: float = Field(description="on test data, too")
    dispersion: float | None = Field(description="relative to the originals'; null for n=1")
    max_similarity: float | None = Field(description="mean over the generated networks")
    minus_original: float = Field(description="generated minus original mean, paired")
    minus_original_ci95: Pair
    headline: str = Field(description="of the verdict")


class Published(Settings):
    """What the paper and the authors' logs report; null where they report nothing."""

    where: str = Field(description="in the paper")
    original_best: float | None = None
    ensemble: float | None = Field(None, description="the average of all originals")
    generated_best: float | None = None
    original_mean: float | None = None
    generated_mean: float | None = None
    log_original_mean: float | None = Field(None, description="of a run that is not the paper's")
    log_generated_mean: float | None = None
    log_max_similarity: float | None = None
    departures: tuple[str, ...] = Field((), description="fields that were not as published here")

    @property
    def minus_original(self) -> float | None:
        """Generated minus original mean, of one run of the authors'."""
        for generated, original in (
            (self.log_generated_mean, self.log_original_mean),
            (self.generated_mean, self.original_mean),
        ):
            if generated is not None and original is not None:
                return generated - original
        return None


class SweepRow(Settings):
    """One recipe of a sweep."""

    name: str = Field(description="of the recipe, and of its folder")
    description: str
    changed: dict[str, Any] = Field(description="the fields in which it differs, with values")
    result: SweepResult | None = Field(description="null where the recipe failed")
    failure: str | None = Field(None, description="why, in one line")
    published: Published | None = Field(None, description="null for recipes not of the paper")


class Sweep(Settings):
    """The whole of ``sweep.json``."""

    schema_version: Literal[1] = Field(1, serialization_alias="schema")
    rows: tuple[SweepRow, ...]


def result_of(evaluation: Evaluation) -> SweepResult:
    """The numbers of a run that a sweep compares."""
    original, generated = evaluation.groups["original"], evaluation.groups["generated"]
    paired = next(
        comparison
        for comparison in evaluation.comparisons
        if (comparison.group, comparison.reference) == ("generated", "original")
    )
    similarity = generated.max_similarity
    return SweepResult(
        score=evaluation.score,
        num_test=evaluation.num_test,
        n=generated.n,
        original_mean=original.accuracy.mean,
        original_best=original.accuracy.max,
        generated_mean=generated.accuracy.mean,
        generated_std=generated.accuracy.std,
        generated_best=generated.accuracy.max,
        dispersion=generated.dispersion,
        max_similarity=None if similarity is None else similarity.mean,
        minus_original=paired.difference,
        minus_original_ci95=paired.ci95,
        headline=evaluation.verdict.headline,
    )


def write_sweep(folder: Path, sweep: Sweep) -> Path:
    """Write a sweep's numbers and its page.

    Args:
        folder: where the runs' folders lie.
        sweep: the rows.

    Returns:
        The path of the page.
    """
    write_json(folder / SWEEP_FILE, sweep.model_dump(mode="json", by_alias=True))
    write_text(folder / SWEEP_PAGE, render_sweep(sweep))
    return folder / SWEEP_PAGE


def render_sweep(sweep: Sweep) -> str:
    """The page as HTML."""
    finished = [row for row in sweep.rows if row.result is not None]
    scores = {row.name: ShownScore(row.result.score, 0.0) for row in finished if row.result}
    return template_of(TEMPLATE).render(
        rows=sweep.rows,
        num_finished=len(finished),
        scores=scores,
        are_fractions=all(score.score.is_fraction for score in scores.values()),
        has_published=any(row.published for row in sweep.rows),
        departures=_departures(sweep),
        figure=differences_figure(
            [
                (row.name, row.result, row.published.minus_original if row.published else None)
                for row in finished
                if row.result and row.result.score.is_fraction
            ]
        ),
    )


def _departures(sweep: Sweep) -> dict[tuple[str, ...], list[str]]:
    """Fields that were not as published, to the recipes of which that holds."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in sweep.rows:
        if row.published and row.published.departures:
            found.setdefault(row.published.departures, []).append(row.name)
    return found
