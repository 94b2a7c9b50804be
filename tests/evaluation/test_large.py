"""Vectors that are larger than memory: the same numbers, and never all of them held."""

import json
import subprocess
import sys

import pytest
import torch

from paramdiff import memmap

from .linear import evaluated, good, perfect_codec

MEASURED = """
import re, sys, threading, torch
from contextlib import contextmanager
from pathlib import Path
from paramdiff import memmap
from paramdiff.evaluation.predictor import classification
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import LatentSpace, EvaluationInputs
from paramdiff.parameters import normalization
from paramdiff.parameters.layout import ParameterLayout

normalization._BLOCK_VALUES = 1 << 17
memmap.MEMORY_BUDGET, memmap.BLOCK_VALUES = int(sys.argv[2]), 1 << 17
here = Path(sys.argv[1])
truth = torch.arange(40) % 10

def held():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]) / 1024

@contextmanager
def watched(readings):
    over = threading.Event()

    def watch():
        while not over.wait(0.001):
            readings.append(held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()

def labels(vectors):
    return torch.stack([truth.where(vector[:40] > -1, 0) for vector in vectors])

def peak_of(size):
    draws = torch.Generator().manual_seed(0)
    layout = ParameterLayout.of({"weight": torch.zeros(size)}, ["weight"])
    codec = LatentSpace(lambda rows: rows[:, :3], lambda rows: rows.repeat(1, size)[:, :size])

    def drawn(num):
        draw = lambda rows: torch.randn(len(rows), size, generator=draws)
        return memmap.map_rows(torch.empty(num, 1), draw, size, here)

    runs = torch.zeros(64)
    inputs = EvaluationInputs(
        layout, drawn(64), drawn(4), drawn(4), "spaced", runs, "", {}, latents=codec, scratch=here
    )
    predictor = classification(labels, truth[:20], truth[20:])
    readings = [held()]
    with watched(readings):
        evaluate(inputs, predictor, EvaluationSettings(seed=0))
    return max(readings)

small = peak_of(1 << 8)  # loads libraries
print(peak_of(1 << 17) - small)
"""


def numbers(value):
    return json.loads(json.dumps(value), parse_float=lambda text: f"{float(text):.4g}")


def test_files_in_place_of_memory_change_nothing(tmp_path, monkeypatch):
    groups = {"held_out": good(12, 2), "latents": perfect_codec()}
    inside, arrays = evaluated(good(15, 3), **groups)
    monkeypatch.setattr(memmap, "MEMORY_BUDGET", 0)
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 50)
    outside, stored = evaluated(good(15, 3), **groups, scratch=tmp_path)
    assert numbers(outside.model_dump(mode="json")) == numbers(inside.model_dump(mode="json"))
    assert stored.keys() == arrays.keys()
    for name, array in arrays.items():
        torch.testing.assert_close(stored[name], array, rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what memory a process held")
def test_memory_does_not_hold_the_vectors(tmp_path):
    """Originals, reconstructions and both normalized are 32 MB each; files spare at least half.

    Pages of files are not counted: they are resident for as long as the system likes.
    """
    in_files, in_memory = (
        float(
            subprocess.run(
                [sys.executable, "-c", MEASURED, str(tmp_path), str(budget)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        for budget in (1 << 22, 1 << 40)
    )
    assert in_files < in_memory - 64
