"""A sweep's page: one row per recipe, ``sweep.json`` and ``sweep.html``.

The page is a pure function of the numbers in ``sweep.json``, which come from each run's own
``evaluation.json``, and for the paper's tables and figures of the runs' own files. A recipe that
failed keeps its row and says why.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from paramdiff.errors import UserError
from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.schema import Evaluation
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.paper.evidence import Evidence
from paramdiff.paper.replication import agreements, tally
from paramdiff.paper.reported import Published
from paramdiff.paper.sections import lift_notes, sections
from paramdiff.report.environment import template_of
from paramdiff.report.figures.sweep_plot import differences_figure
from paramdiff.report.text import ShownScore
from paramdiff.settings import Settings
from paramdiff.storage import read_json, write_json, write_text

SWEEP_FILE = "sweep.json"
SWEEP_PAGE = "sweep.html"
TEMPLATE = "sweep.html.jinja"


class SweepResult(Settings):
    """Results of one recipe's run, by the score that it names."""

    score_info: ScoreInfo = Field(
        ScoreInfo(), description="what means, bests and differences are of"
    )
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

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    rows: tuple[SweepRow, ...]
    asked: tuple[str, ...] = Field((), description="tables and figures of the paper, by name")


def result_of(evaluation: Evaluation) -> SweepResult:
    """The numbers of a run that a sweep compares."""
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


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's numbers.

    Args:
        folder: the sweep's.

    Returns:
        The content of its ``sweep.json``.

    Raises:
        UserError: the file is missing, is not JSON, or a field of it is not as it should be.
    """
    path = folder / SWEEP_FILE
    content = read_json(path)
    try:
        return Sweep.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(f"{path}: {where}: {first['msg']}") from None


def write_sweep(folder: Path, sweep: Sweep, evidence: Evidence) -> Path:
    """Write a sweep's numbers and its page.

    Args:
        folder: where the runs' folders lie.
        sweep: the rows.
        evidence: what the paper's tables and figures are drawn from.

    Returns:
        The path of the page.
    """
    write_json(folder / SWEEP_FILE, sweep.model_dump(mode="json", by_alias=True))
    write_text(folder / SWEEP_PAGE, render_sweep(sweep, evidence))
    return folder / SWEEP_PAGE


def render_sweep(sweep: Sweep, evidence: Evidence) -> str:
    """The page as HTML; see ``write_sweep``."""
    agreement = agreements(evidence)
    notes, shown = lift_notes(sections(sweep.asked, evidence))
    finished = [row for row in sweep.rows if row.result is not None]
    scores = {row.name: ShownScore(row.result.score_info, 0.0) for row in finished if row.result}
    return template_of(TEMPLATE).render(
        rows=sweep.rows,
        num_finished=len(finished),
        scores=scores,
        are_fractions=all(score.info.is_fraction for score in scores.values()),
        has_published=any(row.published for row in sweep.rows),
        departures=_departures(sweep, evidence),
        sections=shown,
        shared_notes=notes,
        agreement=agreement,
        tally=tally(agreement),
        figure=differences_figure(
            [
                (row.name, row.result, row.published.minus_original if row.published else None)
                for row in finished
                if row.result and row.result.score_info.is_fraction
            ]
        ),
    )


def _departures(sweep: Sweep, evidence: Evidence) -> dict[str, list[str]]:
    """Map each deviation from the paper to the recipes that have it."""
    found: dict[str, list[str]] = {}
    for row in sweep.rows:
        if row.published is None or not row.published.departures:
            continue
        run = evidence.runs.get(row.name)
        if run is not None and run.is_on_other_base and run.base is not None:
            what = f"they change {run.base.name}"
        else:
            what = ", ".join(row.published.departures)
        found.setdefault(what, []).append(row.name)
    return found
