"""Progress callbacks of work that takes a while."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


class StageProgress(Protocol):
    """Progress of work in several stages; ``partial(progress, stage)`` is a ``Progress``."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None:
        """Show a stage's name, its steps done and in all, and a note on its latest state."""


def ignore_progress(*_: object) -> None:
    """Show nothing; the default of every callback."""
