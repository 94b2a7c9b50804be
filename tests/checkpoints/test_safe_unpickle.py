"""What trainers keep beside a state dict comes in as nothing; other code does not come in."""

import argparse
import datetime
import pathlib
import random
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from paramdiff.checkpoints.safe_unpickle import PLACEHOLDER_NAMES, Placeholder, placeholder_globals
from tests.checkpoints.checkpoint_files import (
    STATE,
    Call,
    assert_state,
    read_checkpoint,
    refusal,
    saved,
)

ORDINARY = {
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("runs/a")),
    "path": pathlib.Path("runs/a"),
    "windows": pathlib.PureWindowsPath("runs/a"),
    "score": np.float32(0.5),
    "double": np.float64(0.5),
    "count": np.int64(3),
    "is_best": np.bool_(True),
    "history": defaultdict(list, {"loss": [1.0, 0.5]}),
    "counts": defaultdict(int, {"a": 3}),
    "random_state": np.random.RandomState(0).get_state(),
    "python_state": random.Random(0).getstate(),
    "curve": np.arange(6.0).reshape(2, 3),
    "bytes": b"abc",
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", ORDINARY)
def test_ordinary_company_of_a_state_dict_is_passed_over(tmp_path, what, zipped):
    path = saved(tmp_path / "a.pt", {"state_dict": STATE, what: ORDINARY[what]}, zipped)
    assert_state(read_checkpoint(path))


def test_nothing_of_it_is_constructed(tmp_path):
    path = saved(tmp_path / "a.pt", {"model": STATE, **ORDINARY})
    with placeholder_globals():
        found = torch.load(path, weights_only=True)
    for what in ("arguments", "path", "windows", "score", "is_best", "curve"):
        assert type(found[what]) is Placeholder and not vars(found[what])
    assert dict(found["history"]) == {"loss": [1.0, 0.5]}


def test_a_state_dict_may_be_a_mapping_with_a_default(tmp_path):
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", defaultdict(None, STATE))))


def test_the_list_is_fixed():
    """Whoever adds a name says here why it is harmless: placeholders stand for all of them."""
    modules = {name.rpartition(".")[0] for name in PLACEHOLDER_NAMES}
    assert modules == {
        "__builtin__",
        "argparse",
        "builtins",
        "collections",
        "blocked",
        "numpy",
        "numpy._core.multiarray",
        "numpy.core.multiarray",
        "numpy.dtypes",
        "pathlib",
        "pathlib._local",
    }
    assert not {"builtins.eval", "builtins.getattr", "builtins.exec"} & PLACEHOLDER_NAMES


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (datetime.datetime(2026, 1, 1), "datetime.datetime"),
        (nn.Linear(2, 2), "torch.nn"),
        (Call(eval, "1"), "eval"),
        (Call(getattr, "a", "upper"), "getattr"),
        (Call(np.load, "a.npy"), "numpy"),
    ],
)
def test_other_types_are_named(tmp_path, value, told):
    assert told in refusal(saved(tmp_path / "a.pt", {"state_dict": STATE, "x": value}))


def test_the_lists_effect_ends_with_the_reading(tmp_path):
    path = saved(tmp_path / "a.pt", {"state_dict": STATE, "x": argparse.Namespace()})
    read_checkpoint(path)
    with pytest.raises(Exception, match="Namespace"):
        torch.load(path, weights_only=True)
