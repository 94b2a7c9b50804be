"""Placeholders for non-tensor values in training checkpoints.

Trainers store arguments, paths, scores and random states beside a state dict, in types that
torch's safe loader refuses. Each of these type names is mapped to a placeholder that discards its
arguments, so that not even these harmless classes are constructed.
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
    """Placeholder for a value that is not a tensor."""

    def __new__(cls, *_: Any, **__: Any) -> "Placeholder":
        """Accept and discard any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Discard the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Discard the state."""


class EncodedBytes(Placeholder):
    """Placeholder for bytes, which a pickle of protocol 2 stores as text."""


def plain_mapping(*_: Any) -> dict:
    """Replace a defaultdict by a plain one, whose items may be a state dict."""
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
"""Names that a pickle may use in addition to those of torch's safe loader; a fixed list."""


def placeholder_globals() -> AbstractContextManager:
    """Let torch's safe loader read the listed names as placeholders within the context."""
    others: dict[str, Callable] = {"collections.defaultdict": plain_mapping, _ENCODE: EncodedBytes}
    stands_for: list[Callable | tuple[Callable, str]] = [
        (others.get(name, Placeholder), name) for name in sorted(PLACEHOLDER_NAMES)
    ]
    return torch.serialization.safe_globals(stands_for)


def without_encode_calls(pickled: bytes) -> bytes:
    """Replace ``_codecs.encode`` in a pickle by a placeholder's name of the same length.

    A pickle of protocol 2 stores bytes this way, and a hostile one expands a few bytes to
    gigabytes: torch's safe loader allows the name and calls it.
    """
    return pickled.replace(b"c_codecs\nencode\n", f"c{_ENCODE.replace('.', chr(10))}\n".encode())


TUPLE, PAIRS, NUMBER = "tuple()", "dict()", "float()"
"""Reserved keys of mappings that encode values without a JSON type."""
MAX_DEPTH = 20
MAX_VALUES = 10_000


def to_json(value: Any, name: str = "") -> tuple[Any, list[str]]:
    """Encode a value as JSON.

    Args:
        value: value of any type; none of its methods are called.
        name: name of the value, for the list of omissions.

    Returns:
        The JSON value, and the dotted names of the parts that were left out. A value left out
        entirely gives None and its own name.
    """
    writer = _Writer()
    try:
        return writer.written(value, name, 0), writer.left_out
    except _NotPlainError:
        return None, writer.left_out


class _NotPlainError(Exception):
    """Raised for a value without an encoding, after its name was recorded as left out."""


class _Writer:
    """Encoder that collects the names of values it leaves out."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._count = 0

    def written(self, value: Any, name: str, depth: int) -> Any:
        """Encode one value."""
        self._count += 1
        kind = type(value)  # exact type: a class from the file may override a method
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
        """Encode all items or none, since their positions matter."""
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
    """Decode a value that ``to_json`` encoded."""
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
