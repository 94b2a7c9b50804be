"""A sweep's page: one row per recipe, ``sweep.json`` and ``sweep.html``.

The page is a pure function of the numbers in ``sweep.json``, which come from each run's own
``evaluation.json``; a recipe that failed keeps its row and says why.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from paramdiff.artefacts import write_json, write_text
from paramdiff.evaluation.schema import Evaluation, Pair
from paramdiff.report.page import template_of
from paramdiff.report.sweep_figure import differences_figure
from paramdiff.settings import Settings

SWEEP_FILE = "sweep.json"
SWEEP_PAGE = "sweep.html"
TEMPLATE = "sweep.html.jinja"


class SweepResult(Settings):
    """What one recipe's run measured; accuracies and similarities are fractions."""

    num_test: int
    n: int = Field(description="generated networks")
    original_mean: float
    generated_mean: float
    generated_std: float
    generated_best: float = Field(description="on test data: the published habit, which flatters")
    dispersion: float | None = Field(description="relative to the originals'; null for n=1")
    max_similarity: float | None = Field(description="mean over the generated networks")
    minus_original: float = Field(description="generated minus original mean, paired")
    minus_original_ci95: Pair
    headline: str = Field(description="of the verdict")


class SweepRow(Settings):
    """One recipe of a sweep."""

    name: str = Field(description="of the recipe, and of its folder")
    description: str
    changed: dict[str, Any] = Field(description="the fields in which it differs, with values")
    result: SweepResult | None = Field(description="null where the recipe failed")
    failure: str | None = Field(None, description="why, in one line")


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
        num_test=evaluation.num_test,
        n=generated.n,
        original_mean=original.accuracy.mean,
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
    return template_of(TEMPLATE).render(
        rows=sweep.rows,
        num_finished=len(finished),
        figure=differences_figure([(row.name, row.result) for row in finished if row.result]),
    )
