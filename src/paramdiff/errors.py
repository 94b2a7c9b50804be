"""The exceptions that speak to the user: what was expected, what was found, where."""


class UserError(ValueError):
    """A mistake that the user can mend, told in one line.

    The command line prints it and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


class NotFiniteError(UserError):
    """A network whose parameters, answers or scores are NaN or infinite.

    Told apart because it says something about the network, which may be one of many.
    """
