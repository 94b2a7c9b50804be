"""Runs collected side by side by two workers: the same zoo, also where a worker is killed."""

import os
import signal

import pytest

from .collecting import bytes_of, collected, made_task, split

pytestmark = pytest.mark.slow


def lethal(folder, inputs):
    """Inputs of rows; the first process to ask for them a sixth time dies of it."""
    calls = []

    def augmented(rows, generator):
        calls.append(rows)
        mark = folder / "a worker was killed"
        if len(calls) == 6 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return inputs[rows]

    return augmented


@pytest.mark.parametrize("is_independent", [False, True])
def test_workers_collect_the_same_zoo(tmp_path, two_workers, is_independent):
    case = {"num_runs": 3, "independent_runs": is_independent}
    patterns = ("*",) if is_independent else ("1.*",)
    here, there = tmp_path / "here", tmp_path / "there"
    seen = []
    collected(here, patterns=patterns, **case)
    collected(
        there,
        patterns=patterns,
        progress=lambda *told: seen.append(told),
        fan_out=two_workers,
        **case,
    )
    assert bytes_of(there / "zoo") == bytes_of(here / "zoo")
    assert [told for told in seen if told[0] == "collecting runs"] == [
        ("collecting runs", done, 3) for done in (1, 2, 3)
    ]
    assert "collecting checkpoints" not in {work for work, *_ in seen}


def test_a_killed_worker_s_run_goes_on(tmp_path, two_workers):
    inputs = split(50, 1).inputs
    case = {"num_runs": 3, "pretraining": None, "num_checkpoints": 16}
    whole = made_task(augmented=lambda rows, generator: inputs[rows])
    collected(tmp_path / "whole", whole, **case)
    task = made_task(augmented=lethal(tmp_path, inputs))
    collected(tmp_path / "killed", task, fan_out=two_workers, **case)
    assert (tmp_path / "a worker was killed").is_file()
    assert bytes_of(tmp_path / "killed" / "zoo") == bytes_of(tmp_path / "whole" / "zoo")
