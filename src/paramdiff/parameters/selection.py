"""Selection of the tensors to generate, by globs or by regular expressions after ``re:``."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from paramdiff.errors import UserError, suggestion

REGULAR_EXPRESSION = "re:"


def select(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Select the names that match any pattern, keeping their order.

    Args:
        names: tensor names of a state dict.
        patterns: globs such as ``layer4.1.bn?.*`` against the whole name; a pattern that starts
            with ``re:`` is a regular expression searched for anywhere in the name.

    Returns:
        The selected names.

    Raises:
        UserError: a pattern matches nothing or is not a regular expression.
    """
    names = list(names)
    chosen: set[str] = set()
    for pattern in patterns:
        matches = [name for name in names if _matches(name, pattern)]
        if not matches:
            raise UserError(
                f"selection pattern {pattern!r} matches none of {len(names)} tensors; "
                f"{suggestion(pattern, names)}"
            )
        chosen.update(matches)
    return [name for name in names if name in chosen]


def _matches(name: str, pattern: str) -> bool:
    if not pattern.startswith(REGULAR_EXPRESSION):
        return fnmatchcase(name, pattern)
    expression = pattern.removeprefix(REGULAR_EXPRESSION)
    try:
        return re.search(expression, name) is not None
    except re.error as error:
        raise UserError(
            f"selection pattern {pattern!r} is not a regular expression: {error}"
        ) from None
