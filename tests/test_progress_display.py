"""How far a stage is: told at once and from time to time where there is no terminal."""

import io
import time

import pytest
from rich.console import Console
from rich.progress import Progress

from paramdiff import progress_display
from paramdiff.progress_display import (
    Bars,
    Lines,
    TimeColumn,
    clock,
    lines_of_stages,
    show_progress,
)


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def told():
    shown, now = [], Clock()
    lines = Lines(shown.append, now)
    return lines, shown, now


def test_a_line_at_once_then_every_thirty_seconds_and_at_the_end(told):
    lines, shown, now = told
    for done in range(101):
        lines("training", done, 100, f"loss {done}")
        now.seconds += 1
    assert shown == [
        "training: 0 of 100, loss 0",
        "training: 30 of 100, left 1:10, loss 30",
        "training: 60 of 100, left 0:40, loss 60",
        "training: 90 of 100, left 0:10, loss 90",
        "training: 100 of 100, took 1:40, loss 100",
    ]
    lines("training", 100, 100)
    assert len(shown) == 5


def test_every_stage_has_a_line(told):
    lines, shown, now = told
    lines("reading", 1, 5)
    lines("training", 1, 1)
    lines("evaluating", 3, 9)
    now.seconds = 3700
    lines.end()
    assert shown == [
        "reading: 1 of 5",
        "training: 1 of 1, took 0:00",
        "evaluating: 3 of 9",
        "reading: 1 of 5, took 1:01:40",
        "evaluating: 3 of 9, took 1:01:40",
    ]


def test_the_time_left_of_what_goes_on_from_the_middle(told):
    lines, shown, now = told
    lines("training", 90, 100)
    now.seconds = 40
    lines("training", 94, 100)
    assert shown[1] == "training: 94 of 100, left 1:00"


def test_a_stage_that_does_not_report_is_told_about(monkeypatch):
    monkeypatch.setattr(progress_display, "EVERY", 0.1)
    shown = []
    with lines_of_stages(shown.append) as lines:
        lines("aligning", 0, 2)
        for _ in range(100):
            if len(shown) > 2:
                break
            time.sleep(0.05)
    assert len(shown) > 2 and set(shown[:2]) == {"aligning: 0 of 2"}


def test_nothing_more_is_told_of_what_failed():
    shown = []
    with pytest.raises(KeyboardInterrupt), lines_of_stages(shown.append) as lines:
        lines("training", 1, 9)
        raise KeyboardInterrupt
    assert shown == ["training: 1 of 9"]


def test_a_pipe_gets_each_line_at_once():
    class Pipe(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    pipe = Pipe()
    with show_progress(Console(file=pipe)) as lines:
        lines("a [stage]", 0, 2)
        assert pipe.getvalue() == "a [stage]: 0 of 2\n" and pipe.flushed == len(pipe.getvalue())
        lines("a [stage]", 2, 2)
    assert pipe.getvalue().endswith("a [stage]: 2 of 2, took 0:00\n")
    assert "\x1b" not in pipe.getvalue()


def test_left_is_never_the_time_that_a_stage_took():
    now = Clock()
    with Progress(
        auto_refresh=False, get_time=now, console=Console(file=io.StringIO())
    ) as progress:
        bars, column = Bars(progress), TimeColumn()

        def shown():
            return [column.render(task).plain for task in progress.tasks]

        bars("training", 0, 10)
        assert shown() == ["left -:--"]
        now.seconds = 10
        bars("training", 5, 10)
        now.seconds = 20
        bars("training", 6, 10)
        assert shown()[0].startswith("left 0:")
        bars("generating", 1, 2)  # training has stopped early
        now.seconds = 30
        bars("generating", 2, 2)
        assert shown() == ["took 0:20", "took 0:10"]
        bars("training", 7, 10)
        assert shown()[0].startswith("left ")
        bars.end()
        assert shown()[0] == "took 0:30"


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.6, 3599, 3600)] == [
        "0:00",
        "1:00",
        "59:59",
        "1:00:00",
    ]
