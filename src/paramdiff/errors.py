"""The exceptions that speak to the user: what was expected, what was found, where."""


class UserError(ValueError):
    """A mistake that the user can mend, told in one line.

    The command line prints it and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


class NotFiniteError(UserError):
    """A network whose parameters, answers or scores are NaN or infinite.

    Told apart because it says something about the network, which may be one of many.
    """


def in_one_line(error: BaseException, most: int | None = 300) -> str:
    """Somebody's message as part of ours.

    Args:
        error: of a library, or of a user's own code.
        most: characters that are told; None tells all.

    Returns:
        One line; the type's name where there is no message.
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of a message whose further lines are details; else as ``in_one_line``."""
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
