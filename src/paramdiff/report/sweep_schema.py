"""The numbers of a sweep, ``sweep.json``, and what an extension adds to its page.

Nothing here needs torch, so that a sweep is planned before it is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup
from pydantic import ConfigDict, Field

from paramdiff.errors import UserError
from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.settings import Settings, load
from paramdiff.storage import read_json

SWEEP_FILE = "sweep.json"
SWEEP_PAGE = "sweep.html"
EARLIER_SCHEMAS = (1,)


class SweepResult(Settings):
    """Numbers of one recipe's run."""

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
    result: SweepResult | None = Field(description="null if the recipe failed")
    failure: str | None = Field(None, description="why, in one line")
    published: dict[str, Any] | None = Field(
        None, description="numbers published for it elsewhere; null if there are none"
    )


class Sweep(Settings):
    """The whole of ``sweep.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[2] = Field(2, alias="schema")
    rows: tuple[SweepRow, ...]
    requested: tuple[str, ...] = Field(
        (), description="further sections of the page, by name, such as tables of the paper"
    )


@dataclass(frozen=True)
class SweepColumn:
    """A column of the page's table.

    Attributes:
        heading: HTML.
        cells: HTML by the name of the row; other rows have a dash.
    """

    heading: Markup
    cells: Mapping[str, Markup]


@dataclass(frozen=True)
class PageParts:
    """Parts of the page that an extension of the sweep adds.

    Attributes:
        columns: columns before the verdict.
        notes: HTML of paragraphs below the table.
        differences: published generated minus original mean, by the name of the row.
        sections: HTML below the table.
    """

    columns: tuple[SweepColumn, ...] = ()
    notes: tuple[Markup, ...] = ()
    differences: Mapping[str, float] = field(default_factory=dict)
    sections: Markup = field(default_factory=Markup)


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's ``sweep.json``.

    Args:
        folder: the sweep's.

    Returns:
        Its content.

    Raises:
        UserError: the file is missing, is not JSON, was written by an earlier version, or has a
            wrong field.
    """
    path = folder / SWEEP_FILE
    content = read_json(path)
    found = content.get("schema") if isinstance(content, dict) else None
    if found in EARLIER_SCHEMAS:
        raise UserError(
            f"{path}: schema {found} was written by an earlier version; remove the file and run "
            "the sweep again"
        )
    return load(Sweep, content, path)
