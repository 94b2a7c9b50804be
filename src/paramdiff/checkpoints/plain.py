"""Plain values as JSON that gives them back: numbers, text, and what is nested of them.

What is neither is left out and named. JSON has no tuples, no keys but text, and no infinities;
such values are written as a mapping with one reserved key.
"""

import math
from typing import Any

TUPLE, PAIRS, NUMBER = "tuple()", "dict()", "float()"
"""Reserved keys."""
MAX_DEPTH = 20
MAX_VALUES = 10_000


def to_json(value: Any, name: str = "") -> tuple[Any, list[str]]:
    """Write a value as JSON.

    Args:
        value: of any type; nothing of it is called.
        name: of the value, for what is left out.

    Returns:
        The JSON, and the dotted names of what is left out of it. A value that is left out as a
        whole gives None and its own name.
    """
    writer = _Writer()
    try:
        return writer.written(value, name, 0), writer.left_out
    except _NotPlainError:
        return None, writer.left_out


class _NotPlainError(Exception):
    """A value cannot be written; its name stands among those left out."""


class _Writer:
    """Writes values, and collects the names of those that it does not write."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._count = 0

    def written(self, value: Any, name: str, depth: int) -> Any:
        """The JSON of a value."""
        self._count += 1
        kind = type(value)  # exactly: a class of the file's may stand in place of a method
        if self._count <= MAX_VALUES and depth <= MAX_DEPTH:
            if value is None or kind in (bool, int, str):
                return value
            if kind is float:
                return value if math.isfinite(value) else {NUMBER: repr(value)}
            if kind in (list, tuple):
                items = self._items(value, name, depth)
                return {TUPLE: items} if kind is tuple else items
            if isinstance(value, dict):
                return self._mapping(value, name, depth)
        self.left_out.append(name)
        raise _NotPlainError

    def _items(self, values: list | tuple, name: str, depth: int) -> list:
        """All of them or none: places count."""
        before = len(self.left_out)
        try:
            return [self.written(item, name, depth + 1) for item in values]
        except _NotPlainError:
            self.left_out[before:] = [name]
            raise

    def _mapping(self, values: dict, name: str, depth: int) -> dict:
        pairs = []
        for key in dict.keys(values):
            if type(key) not in (str, int, bool, float):
                self.left_out.append(f"{name}.{type(key).__name__}")
                continue
            try:
                item = self.written(dict.__getitem__(values, key), f"{name}.{key}", depth + 1)
            except _NotPlainError:
                continue
            pairs.append((key, item))
        if all(type(key) is str and key not in (TUPLE, PAIRS, NUMBER) for key, _ in pairs):
            return dict(pairs)
        return {PAIRS: [[self.written(key, name, depth), item] for key, item in pairs]}


def from_json(value: Any) -> Any:
    """The value that ``to_json`` wrote."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TUPLE}:
        return tuple(from_json(item) for item in value[TUPLE])
    if value.keys() == {PAIRS}:
        return {from_json(key): from_json(item) for key, item in value[PAIRS]}
    if value.keys() == {NUMBER}:
        return float(value[NUMBER])
    return {key: from_json(item) for key, item in value.items()}
