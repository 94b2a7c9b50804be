"""The paper's tables and figures: the files in ``recipes/paper/``, one for each."""

import difflib
import re
from fnmatch import fnmatchcase
from functools import cache

import yaml

from paramdiff.errors import UserError
from paramdiff.recipe.source import SHIPPED
from paramdiff.report.exhibits.exhibit import Exhibit

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
        near = difflib.get_close_matches(pattern, exhibits, n=1, cutoff=0.0)[0]
        raise UserError(
            f"{pattern}: expected a table or figure of the paper; the nearest is {near!r}"
        )
    if [exhibit.name for exhibit in found] == [pattern] and found[0].measured_by:
        raise UserError(f"{pattern}: no recipe shows it; `{found[0].measured_by}` measures it")
    return found


def _place(name: str) -> tuple[bool, int, str]:
    number, letter = re.fullmatch(r"\D+(\d+)(\w*)", name).groups()  # type: ignore[union-attr]
    return name.startswith("figure"), int(number), letter
