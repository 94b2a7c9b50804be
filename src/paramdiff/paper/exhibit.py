"""A table or a figure of the paper, as its file in ``recipes/paper/`` describes it.

The file names settings and quantities; numbers that the paper reports for a setting come from
``published.json``, those that belong to one table only stand in its rows.
"""

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import yaml
from pydantic import Field, model_validator

from paramdiff.errors import UserError, suggestion
from paramdiff.evaluation.schema import Pair
from paramdiff.recipe.loading import SHIPPED
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


class Setting(Settings):
    """A recipe, or a recipe with one changed value: a row of a table, a panel of a figure."""

    label: str = Field(description="as the paper calls it")
    recipe: str = Field(description="a shipped recipe")
    change: str | None = Field(None, description="path=value, where no recipe is shipped for it")
    columns: tuple[QuantityName, ...] = Field((), description="where not those of the exhibit")
    published: dict[QuantityName, float | Pair] = Field(
        {}, description="what this exhibit alone reports; fractions"
    )

    @property
    def key(self) -> str:
        """Its name: that of its folder in a sweep, and of its published numbers."""
        return self.recipe if self.change is None else self.recipe + variation(self.change)


class Matrix(Settings):
    """Recipes by architecture and data."""

    down: dict[str, str] = Field(description="label to part of the recipe's name, from the top")
    across: dict[str, str] = Field(description="the same, from the left")
    recipe: str = Field(description="pattern of the names, with {down} and {across}")

    def setting(self, down: str, across: str) -> Setting:
        """The setting of a cell, by the labels of its row and its column."""
        name = self.recipe.format(down=self.down[down], across=self.across[across])
        return Setting(label=f"{down}, {across}", recipe=name)


class Exhibit(Settings):
    """One table or figure."""

    name: str = Field(description="table3a, figure5c")
    title: str
    claim: str = Field("", description="what the paper concludes from it")
    default: str | None = Field(None, description="the recipe that the others change")
    columns: tuple[QuantityName, ...] = ()
    headings: tuple[str, ...] = Field((), description="of the columns, where rows differ in them")
    rows: tuple[Setting, ...] = ()
    matrix: Matrix | None = None
    figure: Literal["planes", "chain", "violins", "course"] | None = None
    differs: tuple[str, ...] = Field((), description="what is not as in the paper, whoever runs")
    measured_by: str | None = Field(None, description="a command, where no recipe can show it")

    @model_validator(mode="after")
    def _has_something_to_show(self) -> "Exhibit":
        if not (self.settings or self.measured_by):
            raise ValueError("rows: expected settings, a matrix or measured_by, found none")
        return self

    @property
    def number(self) -> str:
        """Its number in the paper: ``Table 3a``."""
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
        """Whether any of its numbers is measured."""
        return self.measured_by is None and self.columns != ("num_parameters",)


def variation(change: str) -> str:
    """What a changed value adds to the name of a recipe.

    Args:
        change: ``path=value``, the value in YAML.

    Returns:
        A comma, the field's own name and its value: ``,latent_noise=0.01``.
    """
    path, _, value = change.partition("=")
    written = yaml.safe_dump(yaml.safe_load(value), default_flow_style=True)
    written = written.removesuffix("...\n").strip()
    label = re.sub(r"[^\w.+-]+", "_", written)
    return f",{path.rpartition('.')[2]}={label}"


FOLDER = SHIPPED / "paper"


@cache
def load_exhibits() -> dict[str, Exhibit]:
    """All tables and figures by name, tables first, in the order of the paper."""
    found = {}
    for file in FOLDER.iterdir():
        name = file.name.removesuffix(".yaml")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        found[name] = Exhibit(name=name, **content)
    return {name: found[name] for name in sorted(found, key=_place)}


def exhibits_like(pattern: str) -> list[Exhibit]:
    """The tables and figures that a name or a pattern of names means.

    Args:
        pattern: ``table3a``, ``figure*``.

    Returns:
        Those that fit.

    Raises:
        UserError: there is none (with the nearest one), or no recipe can show the one that is
            named.
    """
    exhibits = load_exhibits()
    found = [exhibit for name, exhibit in exhibits.items() if fnmatchcase(name, pattern)]
    if not found:
        raise UserError(
            f"{pattern}: no table or figure of the paper; {suggestion(pattern, exhibits)}"
        )
    if [exhibit.name for exhibit in found] == [pattern] and found[0].measured_by:
        raise UserError(f"{pattern}: no recipe shows it; `{found[0].measured_by}` measures it")
    return found


def _place(name: str) -> tuple[bool, int, str]:
    number, letter = re.fullmatch(r"\D+(\d+)(\w*)", name).groups()  # type: ignore[union-attr]
    return name.startswith("figure"), int(number), letter
