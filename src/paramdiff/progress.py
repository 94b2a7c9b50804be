"""How work that takes a while says how far it is."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int], None]
"""Told steps done and steps in all; of a ``Report``, ``partial(report, stage)`` is one."""


class Report(Protocol):
    """Told a stage's name, steps done, steps in all, and what else there is to say."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show it."""


def ignore_progress(done: int, total: int) -> None:
    """A ``Progress`` for work that nobody watches."""


def ignore_line(line: str) -> None:
    """What is said where nobody listens."""


def ignore_report(stage: str, done: int, total: int, note: str = "") -> None:
    """A ``Report`` for stages that nobody watches."""
