"""Differences of two recipes, and the check that an ablation lists exactly its own.

Several of the paper's ablations change more than the factor that they are named after. An ablation
here extends a complete recipe and lists the fields that it changes, so that this shows.
"""

import re
from typing import Any

import yaml

from paramdiff.errors import UserError, nearest
from paramdiff.recipe.error_messages import RENAMED_KEYS

OWN = ("name", "description")
"""Fields that belong to one recipe alone."""


def differences(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Compare two dumped recipes.

    Args:
        one: a dumped recipe, or a part of it.
        other: another.
        path: of the part.

    Returns:
        Dotted path to both values, for the fields that differ. Lists are values; so is a part that
        is of another kind, or that only one of the two has.
    """
    parts = isinstance(one, dict) and isinstance(other, dict)
    if not parts or one.get("kind") != other.get("kind"):
        return {} if one == other else {path: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(key for key in other if key not in one)]:
        found |= differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    return found


def first_difference(one: Any, other: Any) -> str | None:
    """Describe the first field in which two dumped recipes differ: its path and both values."""
    for path, (there, here) in differences(one, other).items():
        if isinstance(there, dict) and isinstance(here, dict):
            return f"{path}.kind: {there.get('kind')!r} there, {here.get('kind')!r} here"
        return f"{path}: {there!r} there, {here!r} here"
    return None


def check_factors(listed: Any, base: dict, ablation: dict, extends: str) -> dict[str, Any]:
    """Check that an ablation's ``factors`` are the fields in which it differs from its base.

    Args:
        listed: the paths in the file.
        base: the dumped recipe that it extends.
        ablation: the dumped ablation.
        extends: the base's name, for errors.

    Returns:
        The factors with the ablation's values, in the order of the list.

    Raises:
        UserError: a field is missing from the list, or does not differ.
    """
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        raise UserError(
            f"factors: list the fields that differ from {extends}; {listed!r} is no such list"
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
            near = nearest(path, found)
            hint = f"; the nearest field that does is {near!r}" if near else ""
            raise UserError(f"factors: {path!r} does not differ from {extends}{hint}")
    return {path: found[path] for path in listed}


def variation(change: str) -> str:
    """Return what a changed value adds to the name of a recipe.

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
