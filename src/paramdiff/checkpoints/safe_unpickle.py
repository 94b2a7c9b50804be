"""What ordinary training checkpoints hold beside tensors, read as nothing.

Trainers keep arguments, paths, scores and random states beside a state dict. Torch's safe loader
refuses their types. Here each of their names stands for a placeholder that takes whatever the file
gives it and does nothing, so that not even these harmless classes are constructed.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

_ENCODE = "blocked.encode"
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_BUILT_IN = ("list", "dict", "set", "tuple", "int", "long", "float", "str", "bool")
_NUMBERS = (
    "Bool",
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    *(f"Float{bits}" for bits in (16, 32, 64)),
)


class Placeholder:
    """Stands for a value that is not a tensor and is not wanted."""

    def __new__(cls, *_: Any, **__: Any) -> "Placeholder":
        """Whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Forget the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


class EncodedBytes(Placeholder):
    """Stands for bytes, which a pickle of protocol 2 holds as text."""


def plain_mapping(*_: Any) -> dict:
    """Stands for a mapping with a default; its items are kept, for a state dict may lie there."""
    return {}


PLACEHOLDER_NAMES = frozenset(
    {
        _ENCODE,
        "argparse.Namespace",
        "collections.defaultdict",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.dtypes.{name}DType" for name in _NUMBERS),
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("scalar", "_reconstruct")
        ),
        *(f"pathlib.{name}" for name in _PATHS),
        *(f"pathlib._local.{name}" for name in _PATHS),
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _BUILT_IN),
    }
)
"""The fixed list of what may be named in a pickle beside what torch's safe loader knows."""


def placeholder_globals() -> AbstractContextManager:
    """While it lasts, torch's safe loader reads the names of the list as placeholders."""
    others: dict[str, Callable] = {"collections.defaultdict": plain_mapping, _ENCODE: EncodedBytes}
    stands_for: list[Callable | tuple[Callable, str]] = [
        (others.get(name, Placeholder), name) for name in sorted(PLACEHOLDER_NAMES)
    ]
    return torch.serialization.safe_globals(stands_for)


def without_encode_calls(pickled: bytes) -> bytes:
    """A pickle that names the placeholder where it names ``_codecs.encode``.

    That is how a pickle of protocol 2 holds bytes, and how a hostile one makes gigabytes of a few:
    torch's safe loader knows the name and calls it. The placeholder's name is as long.
    """
    return pickled.replace(b"c_codecs\nencode\n", f"c{_ENCODE.replace('.', chr(10))}\n".encode())


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
