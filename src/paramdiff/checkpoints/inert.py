"""What ordinary training checkpoints hold beside tensors, read as nothing.

Trainers keep arguments, paths, scores and random states beside a state dict. Torch's safe loader
refuses their types. Here each of their names stands for a placeholder that takes whatever the file
gives it and does nothing, so that not even these harmless classes are constructed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

_ENCODE = "inert__.encode"
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


INERT_NAMES = frozenset(
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


def inert_types() -> AbstractContextManager:
    """While it lasts, torch's safe loader reads the names of the list as placeholders."""
    others: dict[str, Callable] = {"collections.defaultdict": plain_mapping, _ENCODE: EncodedBytes}
    stands_for: list[Callable | tuple[Callable, str]] = [
        (others.get(name, Placeholder), name) for name in sorted(INERT_NAMES)
    ]
    return torch.serialization.safe_globals(stands_for)


def without_encoding(pickled: bytes) -> bytes:
    """A pickle that names the placeholder where it names ``_codecs.encode``.

    That is how a pickle of protocol 2 holds bytes, and how a hostile one makes gigabytes of a few:
    torch's safe loader knows the name and calls it. The placeholder's name is as long.
    """
    return pickled.replace(b"c_codecs\nencode\n", f"c{_ENCODE.replace('.', chr(10))}\n".encode())
