"""A user's own function by its name ``module:function``; the one place that runs users' code."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from paramdiff.errors import UserError, in_one_line


def import_function(name: str, where: str) -> Callable[..., Any]:
    """Import a function; this runs its module's code.

    Args:
        name: ``module:function``.
        where: the field or option that names it, for errors.

    Returns:
        The function.

    Raises:
        UserError: it cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    try:
        return getattr(import_module(module_name), function_name)
    except Exception as error:  # of somebody's code, which may raise anything
        told = f"{type(error).__name__}: {in_one_line(error)}"
        raise UserError(f"{where}: {name!r} cannot be imported: {told}") from error
