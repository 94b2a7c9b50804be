"""Recipe files as mappings: the shipped ones and the user's, read, layered and overridden.

What is above replaces what is below key by key; a part of another ``kind`` replaces it whole.
"""

import difflib
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from paramdiff.errors import UserError, in_one_line
from paramdiff.storage import StrPath

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # Python 3.11

SHIPPED = files("paramdiff") / "recipes"
PRESET_VALUES = (
    "parameters.normalization",
    "codec",
    "diffusion",
    "generation.solver",
    "generation.num_inference_steps",
)
"""Fields of a preset; a recipe's own values of these lie over the preset that it names."""


def shipped_recipes() -> "dict[str, Traversable]":
    """The shipped recipes by name; sub-folders are part of the name."""
    return dict(sorted(_walk(SHIPPED, "")))


def read(source: StrPath, beside: StrPath = "") -> dict:
    """Read a recipe file.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        beside: the recipe that names it; a relative path is looked for in its folder first.

    Returns:
        Its keys and values.

    Raises:
        UserError: there is no such recipe (with the nearest shipped one), or it is no mapping.
    """
    source = source if isinstance(source, str) else os.fspath(source)
    shipped = shipped_recipes()
    near = Path(beside).parent / source
    path = near if near.is_file() else Path(source)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{source}: expected a recipe in YAML, found no text") from None
    elif source in shipped:
        text = shipped[source].read_text(encoding="utf-8")
    else:
        nearest = difflib.get_close_matches(source, shipped, n=1, cutoff=0.0)
        raise UserError(
            f"{source}: expected a recipe file or a shipped recipe; the nearest is {nearest[0]!r}"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: no YAML: {in_one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{source}: expected keys and values, found {type(content).__name__}")
    return content


def read_preset(name: Any) -> dict:
    """The values of a preset; none where there is no such preset, which validation refuses."""
    path = SHIPPED / "presets" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def is_preset_value(path: str) -> bool:
    """Return True if a dotted path is a field of presets, or below one."""
    return any(path == value or path.startswith(f"{value}.") for value in PRESET_VALUES)


def without_preset_values(content: dict, path: str = "") -> dict:
    """A recipe's keys and values but for those that were meant over the preset it names."""
    kept = {}
    for key, value in content.items():
        if not is_preset_value(f"{path}{key}"):
            is_part = isinstance(value, dict)
            kept[key] = without_preset_values(value, f"{path}{key}.") if is_part else value
    return kept


def parse_overrides(overrides: Sequence[str]) -> dict:
    """``path=value`` strings as a mapping; the last one wins.

    Args:
        overrides: dotted paths with values in YAML.

    Returns:
        Nested keys and values.

    Raises:
        UserError: an override has no ``=``, is no YAML, or goes below a value.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise UserError(f"--set: expected path=value, found {override!r}")
        try:
            _assign(changes, path.split("."), yaml.safe_load(value))
        except yaml.YAMLError:
            raise UserError(f"--set {path}: expected a YAML value, found {value!r}") from None
    return changes


def nested(values: dict[str, Any]) -> dict:
    """Dotted paths with values as nested keys and values."""
    content: dict[str, Any] = {}
    for path, value in values.items():
        _assign(content, path.split("."), value)
    return content


def merge(below: dict, above: dict) -> dict:
    """``above`` over ``below``; a part of another kind replaces the one below whole."""
    if "kind" in above and above["kind"] != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = merge(below[key], value) if both else value
    return merged


def _walk(folder: "Traversable", prefix: str) -> "Iterator[tuple[str, Traversable]]":
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in ("presets", "paper"):
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _assign(content: dict, path: list[str], value: Any) -> None:
    for key in path[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise UserError(f"--set {'.'.join(path)}: {key!r} has a value and no fields")
    content[path[-1]] = value
