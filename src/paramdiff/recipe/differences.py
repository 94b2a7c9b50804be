"""Differences between two recipes, which an ablation must list exactly.

Several of the paper's ablations change more than the factor that they are named after. An ablation
here extends a complete recipe and lists the fields that it changes, so that this shows.
"""

import difflib
from typing import Any

from paramdiff.errors import UserError
from paramdiff.recipe.error_messages import RENAMED_KEYS

OWN = ("name", "description")
"""Fields that every recipe has to itself."""


def differences(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """The fields in which two dumped recipes differ.

    Args:
        one: a dumped recipe, or a part of it.
        other: another.
        path: of the part.

    Returns:
        Dotted path to both values. Lists are values; so is a part that is of another kind, or that
        only one of the two has.
    """
    parts = isinstance(one, dict) and isinstance(other, dict)
    if not parts or one.get("kind") != other.get("kind"):
        return {} if one == other else {path: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(key for key in other if key not in one)]:
        found |= differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    return found


def first_difference(one: Any, other: Any) -> str | None:
    """The dotted path of the first field in which two dumped recipes differ, with both values."""
    for path, (there, here) in differences(one, other).items():
        if isinstance(there, dict) and isinstance(here, dict):
            return f"{path}.kind: {there.get('kind')!r} there, {here.get('kind')!r} here"
        return f"{path}: {there!r} there, {here!r} here"
    return None


def check_factors(listed: Any, base: dict, ablation: dict, extends: str) -> dict[str, Any]:
    """Refuse an ablation whose ``factors`` are not the fields in which it differs from its base.

    Args:
        listed: what the file lists.
        base: the dumped recipe that it extends.
        ablation: the dumped ablation.
        extends: the base's name, for errors.

    Returns:
        The factors with the ablation's values, in the order of the list.

    Raises:
        UserError: a factor is missing or too many.
    """
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise UserError(
            f"factors: expected the list of the fields that differ from {extends}, "
            f"found {listed!r}"
        )
    for path in listed:
        if path in RENAMED_KEYS:
            raise UserError(f"factors: {path!r} is now called {RENAMED_KEYS[path]!r}")
    found = {
        path: here for path, (_, here) in differences(base, ablation).items() if path not in OWN
    }
    for path in found:
        if path not in listed:
            raise UserError(f"factors: {path!r} differs from {extends} and is not listed")
    for path in listed:
        if path not in found:
            near = difflib.get_close_matches(path, found, n=1, cutoff=0.0)
            hint = f"; the nearest that does is {near[0]!r}" if near else ""
            raise UserError(f"factors: {path!r} does not differ from {extends}{hint}")
    return {path: found[path] for path in listed}
