"""The paper's tables and figures, as the files in ``tables/`` describe them.

A file names settings and quantities. Numbers that the paper reports for a setting are in
``published.json``; those that belong to one table alone are in the table's rows.
"""

import re
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import Field, model_validator

from paramdiff.errors import UserError, suggestion
from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.recipe.differences import variation
from paramdiff.recipe.loading import parse_yaml
from paramdiff.settings import Settings

QuantityName = Literal[
    "num_parameters",
    "original_best",
    "original_mean",
    "ensemble",
    "generated_best",
    "generated_mean",
    "similarity_range",
    "original_similarity_range",
    "original_similarity_median",
    "generated_similarity_median",
    "minus_original",
    "max_similarity",
    "log_original_mean",
    "log_generated_mean",
    "kde_mean",
    "s_kde30",
    "sane_sub",
    "sane_kde30",
]

FigureName = Literal[
    "score_similarity", "reverse_process", "similarity_violins", "parameter_traces"
]
FOLDER = files("paramdiff.paper") / "tables"
BASE = "main/cifar100_resnet18"
"""The recipe that all of the paper's ablations change."""


class Setting(Settings):
    """A recipe, or a recipe with one changed value: a row of a table, a panel of a figure."""

    label: str = Field(description="as the paper calls it")
    recipe: str = Field(description="a shipped recipe")
    change: str | None = Field(None, description="path=value, if no recipe is shipped for it")
    columns: tuple[QuantityName, ...] = Field((), description="if not those of the table")
    published: dict[QuantityName, float | Pair] = Field(
        {}, description="numbers of this table alone; fractions"
    )

    @property
    def key(self) -> str:
        """The name of its folder in a sweep and of its published numbers."""
        return self.recipe if self.change is None else self.recipe + variation(self.change)


class Matrix(Settings):
    """Recipes by architecture and data."""

    down: dict[str, str] = Field(description="label to part of the recipe's name, downwards")
    across: dict[str, str] = Field(description="the same, from left to right")
    recipe: str = Field(description="pattern of the names, with {down} and {across}")

    def setting(self, down: str, across: str) -> Setting:
        """Return the setting of a cell, given the labels of its row and its column."""
        name = self.recipe.format(down=self.down[down], across=self.across[across])
        return Setting(label=f"{down}, {across}", recipe=name)


class PaperTable(Settings):
    """One table or figure of the paper."""

    name: str = Field(description="table3a, figure5c")
    title: str
    claim: str = Field("", description="the paper's conclusion")
    default: str | None = Field(None, description="the recipe that the others change")
    columns: tuple[QuantityName, ...] = ()
    headings: tuple[str, ...] = Field((), description="of the columns, if rows differ in them")
    rows: tuple[Setting, ...] = ()
    matrix: Matrix | None = None
    figure: FigureName | None = None
    deviations: tuple[str, ...] = Field((), description="differences of every run to the paper")
    measured_by: str | None = Field(None, description="a command, if no recipe can show it")

    @model_validator(mode="after")
    def _has_something_to_show(self) -> "PaperTable":
        if not (self.settings or self.measured_by):
            raise ValueError("rows: there must be settings, a matrix or measured_by")
        return self

    @property
    def number(self) -> str:
        """The number in the paper: ``Table 3a``."""
        kind, number = re.fullmatch(r"(table|figure)(\w+)", self.name).groups()  # type: ignore[union-attr]
        return f"{kind.capitalize()} {number}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings, in reading order."""
        if self.matrix is None:
            return self.rows
        return tuple(
            self.matrix.setting(down, across)
            for down in self.matrix.down
            for across in self.matrix.across
        )

    @property
    def needs_runs(self) -> bool:
        """If any of its numbers is measured."""
        return self.measured_by is None and self.columns != ("num_parameters",)


@cache
def load_paper_tables() -> dict[str, PaperTable]:
    """Read all tables and figures, by name; tables come first, in the order of the paper."""
    found = {}
    for file in FOLDER.iterdir():
        name = file.name.removesuffix(".yaml")
        content = parse_yaml(file.read_text(encoding="utf-8"))
        found[name] = PaperTable(name=name, **content)
    return {name: found[name] for name in sorted(found, key=_place)}


def paper_tables_like(pattern: str) -> list[PaperTable]:
    """Find tables and figures by name or by a pattern of names.

    Args:
        pattern: ``table3a``, ``figure*``.

    Returns:
        The matching tables and figures.

    Raises:
        UserError: none matches (the nearest is suggested), or no recipe can reproduce the one that
            is named.
    """
    tables = load_paper_tables()
    found = [table for name, table in tables.items() if fnmatchcase(name, pattern)]
    if not found:
        raise UserError(
            f"{pattern}: no table or figure of the paper; {suggestion(pattern, tables)}"
        )
    if [table.name for table in found] == [pattern] and found[0].measured_by:
        raise UserError(
            f"{pattern}: no recipe reproduces it; `{found[0].measured_by}` measures it"
        )
    return found


def _place(name: str) -> tuple[bool, int, str]:
    number, letter = re.fullmatch(r"\D+(\d+)(\w*)", name).groups()  # type: ignore[union-attr]
    return name.startswith("figure"), int(number), letter
