"""Progress of stages: bars on a terminal, lines of text in a pipe or a file."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from paramdiff.progress import StageProgress

EVERY = 30.0
"""Seconds between two lines about a stage."""


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[StageProgress]:
    """Show the progress of stages for as long as a ``with`` block runs.

    Args:
        console: where; by default standard output, which may be a notebook's.

    Yields:
        A callback that functions take as ``progress``.
    """
    console = Console() if console is None else console
    if not console.is_terminal:
        show = partial(console.print, markup=False, soft_wrap=True)  # it flushes
        with lines_of_stages(show) as told:
            yield told
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress)
        yield bars
        bars.end()


class TimeColumn(ProgressColumn):
    """Time left of a running stage, or time taken by a finished one."""

    def render(self, task: Task) -> Text:
        """See ``ProgressColumn``."""
        if task.finished or task.stop_time is not None:
            return Text(f"took {clock(task.finished_time or task.elapsed or 0.0)}")
        left = task.time_remaining
        return Text(f"left {'-:--' if left is None else clock(left)}")


class Bars:
    """One progress bar per stage, added when the stage first reports.

    Args:
        progress: shows them.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}
        self._current: str | None = None

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` steps of a stage are finished, and a note."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, note="")
        if stage != self._current:
            self.end()
            task = self._progress.tasks[self._tasks[stage]]
            task.stop_time, self._current = None, stage  # it may go on after another
        self._progress.update(self._tasks[stage], completed=done, total=total, note=note)

    def end(self) -> None:
        """Stop the clock of the running stage."""
        if self._current is not None:
            self._progress.stop_task(self._tasks[self._current])


@dataclass
class _Stage:
    """State of a stage."""

    started: float
    first: int
    done: int = 0
    total: int = 0
    note: str = ""
    is_over: bool = False


class Lines:
    """Lines about stages.

    Args:
        show: prints a line, at once.
        now: seconds on a clock.
    """

    def __init__(
        self, show: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._show, self._now = show, now
        self._stages: dict[str, _Stage] = {}
        self._current: str | None = None
        self._last_shown = now()
        self._lock = threading.RLock()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show a stage when it begins, from time to time, and when it is over."""
        with self._lock:
            is_new = stage not in self._stages
            known = self._stages.setdefault(stage, _Stage(self._now(), done))
            known.done, known.total, known.note = done, total, note
            self._current = stage
            if done >= total and not known.is_over:
                known.is_over = True
                self._say(stage)
            elif is_new:
                self._say(stage)
            else:
                self.tick()

    def tick(self) -> None:
        """Show the running stage if nothing was shown for a while."""
        with self._lock:
            is_due = self._now() - self._last_shown >= EVERY
            if is_due and self._current is not None and not self._stages[self._current].is_over:
                self._say(self._current)

    def end(self) -> None:
        """Show the stages that ended before all of their steps were done."""
        with self._lock:
            for stage, known in self._stages.items():
                if not known.is_over:
                    known.is_over = True
                    self._say(stage)

    def _say(self, stage: str) -> None:
        known = self._stages[stage]
        spent = self._now() - known.started
        told = f"{stage}: {known.done:,} of {known.total:,}"
        if known.is_over:
            told += f", took {clock(spent)}"
        elif known.done > known.first and spent >= 1:  # it may have gone on from the middle
            rest = (known.total - known.done) / (known.done - known.first)
            told += f", left {clock(spent * rest)}"
        self._show(f"{told}, {known.note}" if known.note else told)
        self._last_shown = self._now()


@contextmanager
def lines_of_stages(show: Callable[[str], None]) -> Iterator[Lines]:
    """Lines about stages for as long as the block runs, also while no stage reports."""
    lines, over = Lines(show), threading.Event()

    def remind() -> None:
        while not over.wait(EVERY / 10):
            lines.tick()

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield lines
        lines.end()
    finally:
        over.set()
        thread.join()


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
