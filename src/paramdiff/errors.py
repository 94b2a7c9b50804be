"""Errors for the user to mend, and the words that they have in common."""

import difflib
from collections.abc import Iterable

NEAR = 0.6
"""Likeness of two names, of 1, from which one may be meant by the other."""
MOST_CHOICES = 8


class UserError(ValueError):
    """A mistake that the user can mend, described in one line.

    The command line prints it and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


class NotFiniteError(UserError):
    """A network whose parameters, predictions or scores are NaN or infinite.

    It has a class of its own because one such network may be among many sound ones.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that a misspelled one may stand for.

    Args:
        name: the unknown name.
        known: valid names.

    Returns:
        The most similar valid name; None if none is similar.
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=NEAR)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Suggest what to write instead of an unknown name.

    Args:
        name: the unknown name.
        known: valid names.

    Returns:
        ``the nearest is 'a'`` if a valid name is similar; else the first valid names.
    """
    known = list(known)
    near = nearest(name, known)
    if near is not None:
        return f"the nearest is {near!r}"
    if not known:
        return "there is none to choose from"
    shown = ", ".join(repr(one) for one in known[:MOST_CHOICES])
    rest = f", ... ({len(known):,} in all)" if len(known) > MOST_CHOICES else ""
    return f"expected {'one of ' if len(known) > 1 else ''}{shown}{rest}"


def in_one_line(error: BaseException, most: int | None = 300) -> str:
    """Collapse an exception's message to one line.

    Args:
        error: of a library, or of a user's own code.
        most: characters to keep; None keeps all.

    Returns:
        One line; the type's name if there is no message.
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: Exception) -> str:
    """Return the first line of a message whose further lines are details, or the type's name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def of_an_earlier_version(path: object, what: str) -> UserError:
    """Return the error on a file or folder that names things as they were once called.

    Args:
        path: of the file or folder.
        what: the old name that was found.

    Returns:
        One line that says what to do.
    """
    return UserError(
        f"{path}: written by an earlier version of paramdiff ({what}), which this one does not "
        "read; generate it anew"
    )
