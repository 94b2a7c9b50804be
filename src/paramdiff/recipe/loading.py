"""Recipe files as mappings: listed, read, layered and overridden.

A layer replaces the one below key by key; a part of another ``kind`` replaces it whole.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from paramdiff.errors import UserError, in_one_line, nearest
from paramdiff.storage import StrPath

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # Python 3.11

SHIPPED = files("paramdiff") / "recipes"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's safe loader in C if it was built with it: the same values, ten times faster."""
FOLDERS = (SHIPPED, files("paramdiff") / "paper" / "recipes")
"""Folders of the shipped recipes; the second one holds those that reproduce the paper."""
PRESET_VALUES = (
    "parameters.normalization",
    "codec",
    "diffusion",
    "generation.solver",
    "generation.num_inference_steps",
)
"""Values of a preset; a recipe's own values of these replace those of the preset that it names."""


def parse_yaml(text: str) -> Any:
    """Parse a YAML text into plain values; a ``yaml.YAMLError`` if it is invalid."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return yaml.safe_load(text)  # its message shows the line


@cache
def shipped_recipes() -> "Mapping[str, Traversable]":
    """Find the shipped recipes, by name; sub-folders are part of the name."""
    found = sorted(one for folder in FOLDERS for one in _walk(folder, ""))
    return MappingProxyType(dict(found))


def read(source: StrPath, beside: StrPath = "") -> dict:
    """Read a recipe file.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        beside: the recipe that names it; a relative path is first sought in its folder.

    Returns:
        Its keys and values.

    Raises:
        UserError: there is no such recipe (the nearest is suggested), or it is not a mapping.
    """
    source = source if isinstance(source, str) else os.fspath(source)
    shipped = shipped_recipes()
    near = Path(beside).parent / source
    path = near if near.is_file() else Path(source)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{source}: this is no recipe in YAML, but binary data") from None
    elif source in shipped:
        text = shipped[source].read_text(encoding="utf-8")
    else:
        name = nearest(source, shipped)
        hint = "`paramdiff recipes` lists them" if name is None else f"the nearest is {name!r}"
        raise UserError(f"{source}: no such file and no shipped recipe; {hint}")
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: invalid YAML: {in_one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(
            f"{source}: a recipe holds keys and values, not one {type(content).__name__}"
        )
    return content


def read_preset(name: Any) -> dict:
    """Read the values of a preset; empty for an unknown preset, which validation refuses."""
    path = SHIPPED / "presets" / f"{name}.yaml"
    return parse_yaml(path.read_text(encoding="utf-8")) if path.is_file() else {}


def is_preset_value(path: str) -> bool:
    """Tell if a dotted path belongs to the values of a preset."""
    return any(path == value or path.startswith(f"{value}.") for value in PRESET_VALUES)


def without_preset_values(content: dict, path: str = "") -> dict:
    """Drop a recipe's values that replace those of the preset that it names."""
    kept = {}
    for key, value in content.items():
        if not is_preset_value(f"{path}{key}"):
            is_part = isinstance(value, dict)
            kept[key] = without_preset_values(value, f"{path}{key}.") if is_part else value
    return kept


def parse_overrides(overrides: Sequence[str]) -> dict:
    """Parse ``path=value`` strings into a mapping; the last one wins.

    Args:
        overrides: dotted paths with values in YAML.

    Returns:
        Nested keys and values.

    Raises:
        UserError: an override has no ``=``, is invalid YAML, or goes below a value.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise UserError(f"--set: {override!r} is not path=value")
        try:
            _assign(changes, path.split("."), yaml.safe_load(value))
        except yaml.YAMLError:
            raise UserError(f"--set {path}: {value!r} is no YAML value") from None
    return changes


def nested(values: dict[str, Any]) -> dict:
    """Turn dotted paths with values into nested keys and values."""
    content: dict[str, Any] = {}
    for path, value in values.items():
        _assign(content, path.split("."), value)
    return content


def merge(below: dict, above: dict) -> dict:
    """Lay one mapping over another; a part of another kind replaces the one below whole."""
    if "kind" in above and above["kind"] != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = merge(below[key], value) if both else value
    return merged


def _walk(folder: "Traversable", prefix: str) -> "Iterator[tuple[str, Traversable]]":
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "presets":
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _assign(content: dict, path: list[str], value: Any) -> None:
    for key in path[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise UserError(f"--set {'.'.join(path)}: {key!r} is a value and has no fields")
    content[path[-1]] = value


COSTS = SHIPPED / "costs.json"
"""Sizes and costs of the shipped recipes, so that listing them builds no network; tests keep the
table true."""


@dataclass(frozen=True)
class Listed:
    """One line of the list.

    Attributes:
        name: of the shipped recipe.
        description: from the recipe.
        num_parameters: generated parameters per network.
        pflop: estimated floating-point operations from data to report, in units of 10^15; None
            if the task has its own loss and score, whose operations are not counted.
        factors: changes of an ablation, dotted path to value (for a whole part, its kind); empty
            for a complete recipe.
    """

    name: str
    description: str
    num_parameters: int
    pflop: float | None
    factors: dict[str, Any]

    @property
    def group(self) -> str:
        """The folder of the recipe; empty for those outside any."""
        return self.name.rpartition("/")[0]


def list_recipes() -> list[Listed]:
    """List all shipped recipes, those outside any folder first."""
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    listed = []
    for name in sorted(shipped_recipes(), key=lambda name: ("/" in name, name)):
        content = read(name)
        factors = {path: _value(content, path) for path in content.get("factors", [])}
        num_parameters, pflop = costs[name]
        listed.append(Listed(name, content["description"], num_parameters, pflop, factors))
    return listed


def _value(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content[key]
    return content["kind"] if isinstance(content, dict) else content
