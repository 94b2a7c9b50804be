"""A validation error of a recipe as one line that names the field."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from paramdiff.errors import nearest, suggestion
from paramdiff.settings import Settings

MOST_SHOWN = 3
CLEARLY = 0.1
"""Additional likeness, of 1, from which a key of another part is suggested instead."""


def explain(error: Any, root: type[Settings]) -> str:
    """Describe a validation error in one line.

    Args:
        error: one of ``ValidationError.errors()``.
        root: the settings class that was validated.

    Returns:
        The dotted path of the field and what is wrong with it; for an unknown key, also the nearest
        valid one.
    """
    path = ".".join(_walk(error["loc"], root)[0])
    if error["type"] == "extra_forbidden":
        reached = _walk(error["loc"][:-1], root)[1]
        valid = [name for kind in reached for name in kind.model_fields]
        return f"{path}: unknown key; {_nearest(str(error['loc'][-1]), valid, root)}"
    if error["type"] == "missing":
        return f"{path}: expected a value, found none"
    if error["type"] == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        return f"{path}.{message}" if path else message
    return f"{path}: {error['msg'].lower()}, found {error['input']!r}"


def _nearest(key: str, valid: Sequence[str], root: type[Settings]) -> str:
    """Suggest the nearest key of this part or, if they are much nearer, those of other parts."""
    elsewhere: dict[str, list[str]] = {}
    for path in dict.fromkeys(_paths(root)):
        elsewhere.setdefault(path.rpartition(".")[2], []).append(path)
    near, far = nearest(key, valid), nearest(key, elsewhere)
    if far is None:
        return suggestion(key, valid)
    if near is not None and _likeness(key, near) + CLEARLY >= _likeness(key, far):
        return f"the nearest valid one is {near!r}"
    shown = " and ".join(repr(path) for path in elsewhere[far][:MOST_SHOWN])
    return f"the nearest valid {'one is' if len(elsewhere[far]) == 1 else 'ones are'} {shown}"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()  # as get_close_matches compares


def _paths(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    """List every dotted path of a settings class."""
    for name, field in kind.model_fields.items():
        yield f"{prefix}{name}"
        for part in _settings_in(field.annotation):
            yield from _paths(part, f"{prefix}{name}.")


def _walk(
    location: Sequence[int | str], root: type[Settings]
) -> tuple[list[str], list[type[Settings]]]:
    """Follow the location of a validation error.

    Args:
        location: ``loc`` of the error.
        root: the settings class that was validated.

    Returns:
        The path as a user writes it, and the settings classes that it may lead to. The location
        also contains the kinds of parts, which are not written.
    """
    written, kinds = [], [root]
    for part in location:
        tagged = [kind for kind in kinds if part in _kinds_of(kind)]
        if tagged:
            kinds = tagged
            continue
        written.append(str(part))
        kinds = [
            found
            for kind in kinds
            if part in kind.model_fields
            for found in _settings_in(kind.model_fields[str(part)].annotation)
        ]
    return written, kinds


def _kinds_of(kind: type[Settings]) -> tuple:
    return get_args(kind.model_fields["kind"].annotation) if "kind" in kind.model_fields else ()


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    arguments = get_args(annotation)  # Python 3.10 takes tuple[str, ...] for a class, too
    if not arguments and isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in arguments:
        yield from _settings_in(argument)
