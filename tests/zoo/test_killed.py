"""Killed at any update of any phase, the same collection goes on to the same zoo."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paramdiff import training_loop

from .collecting import Killed, bytes_of, collected, dies_at, made_task

TRAIN = {"mode": "train"}
KEPT = {"mode": "eval"}
SWITCHING = {"mode": "eval_after_first_save"}
CASES = {
    "train": {"fine_tuning": TRAIN},
    "frozen layers kept": {"fine_tuning": KEPT},
    "switching": {"fine_tuning": SWITCHING, "skip_steps": 2},
    "per pass": {"fine_tuning": KEPT, "skip_steps_per_epoch": 1},
    "several runs": {"fine_tuning": SWITCHING, "num_runs": 3},
    "independent": {"fine_tuning": KEPT, "num_runs": 2, "independent_runs": True},
}
"""Three epochs of four updates, then at least seven updates: two passes and more."""
PATTERNS = {"independent": ("*",)}
KILL_AT = [("pre-training", 6), ("collecting checkpoints", 2), ("collecting checkpoints", 3)]


def collect_case(folder, case, progress=None, is_augmented=False):
    task = made_task(noise=0.9)
    if is_augmented:
        task = made_task(noise=0.9, augmented=noisy(task.train.inputs))
    patterns = PATTERNS.get(case, ("1.weight", "1.bias"))
    return collected(folder, task, patterns, progress=progress, **CASES[case])


def noisy(inputs):
    def augmented(rows, generator):
        return inputs[rows] + torch.randn(len(rows), 4, generator=generator)

    return augmented


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_augmented", [False, True])
def test_an_exception_at_several_updates(tmp_path, monkeypatch, case, is_augmented):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    collect_case(whole, case, is_augmented=is_augmented)
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    for moment in KILL_AT:
        with pytest.raises(Killed):
            collect_case(killed, case, dies_at(moment), is_augmented)
    collect_case(killed, case, is_augmented=is_augmented)
    assert bytes_of(killed / "zoo") == bytes_of(whole / "zoo")


def test_an_exception_while_frozen_layers_run(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    collect_case(whole, "frozen layers kept")
    with pytest.raises(Killed):
        collect_case(killed, "frozen layers kept", dies_at(("running frozen layers once", 1)))
    collect_case(killed, "frozen layers kept")
    assert bytes_of(killed / "zoo") == bytes_of(whole / "zoo")


KILLED = """
import os, signal, sys
import torch
from pathlib import Path
from paramdiff import training_loop
from tests.zoo.test_killed import collect_case

torch.set_num_threads(1)
training_loop.SECONDS_BETWEEN_SAVES = -1.0
folder, case, work, number = sys.argv[1:]
calls = []

def progress(name, done, total):
    calls.append(name)
    if calls.count(work) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)

collect_case(Path(folder), case, progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["train", "frozen layers kept", "switching", "several runs"])
def test_a_real_kill(tmp_path, case):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    collect_case(whole, case)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    for work, number in KILL_AT[:2]:
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(killed), case, work, str(number)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
        )
        assert process.returncode == -signal.SIGKILL, process.stderr.decode()
        assert not (killed / "zoo").exists()
    collect_case(killed, case)
    assert bytes_of(killed / "zoo") == bytes_of(whole / "zoo")
