"""A survey finds what differs, what is broken and what is there twice."""

import pytest
import torch

from paramdiff.checkpoints.duplicates import Duplicate
from paramdiff.checkpoints.sources import find_runs
from paramdiff.checkpoints.summary import summarize
from paramdiff.errors import UserError
from tests.checkpoints.checkpoint_files import saved


def state(**changes):
    return {
        "same": torch.arange(6.0),
        "moving": torch.ones(40),
        "counter": torch.tensor(1),
        "half": torch.ones(3, dtype=torch.bfloat16),
        **changes,
    }


def surveyed(folder, *states, **options):
    for number, one in enumerate(states):
        folder.mkdir(exist_ok=True)
        saved(folder / f"{number}.pt", one)
    return summarize(find_runs([str(folder)]), **options)


def test_what_differs_is_measured_from_the_first(tmp_path):
    seen = []
    found = surveyed(
        tmp_path / "a",
        state(),
        state(moving=torch.full((40,), 1.5)),
        state(moving=torch.full((40,), 0.0), counter=torch.tensor(2)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [name for name, one in found.tensors.items() if one.differs] == ["moving", "counter"]
    moving = found.tensors["moving"]
    assert (moving.num_differing, moving.scale) == (2, 1.0)
    assert moving.squared_change == pytest.approx(0.5**2 + 1.0**2)
    assert found.tensors["half"].dtype == torch.bfloat16
    assert found.samples.shape == (3, 40)  # all, for there are few tensors
    assert found.samples[1].unique().tolist() == [1.5]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_equal_checkpoints_are_told_whatever_their_files_say(tmp_path):
    other = state(moving=torch.zeros(40))
    found = surveyed(tmp_path / "a", state(), other, {"state_dict": state(), "epoch": 2}, other)
    assert found.duplicates == (Duplicate("2.pt", "0.pt"), Duplicate("3.pt", "1.pt"))
    assert found.names == ["0.pt", "1.pt"] and len(found.samples) == 2
    assert found.tensors["moving"].num_differing == 1


def test_broken_and_outlying_values_are_found_and_not_refused(tmp_path):
    broken, outlying = torch.ones(40), torch.ones(40)
    broken[3], outlying[5] = torch.nan, 1e9
    found = surveyed(tmp_path / "a", state(), state(moving=broken), state(moving=outlying))
    moving = found.tensors["moving"]
    assert (moving.broken, moving.outlying) == (["1.pt"], ["2.pt"])
    assert moving.num_differing == 2


def test_another_tensor_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"1\.pt: tensor 'extra' is missing|extra"):
        surveyed(tmp_path / "a", state(), state(extra=torch.ones(1)))
    with pytest.raises(UserError, match=r"shape \[41\]"):
        surveyed(tmp_path / "b", state(), state(moving=torch.ones(41)))


def test_runs_are_kept_apart(tmp_path):
    for run in range(2):
        (tmp_path / f"run{run}").mkdir()
        for number in range(2):
            one = state(moving=torch.rand(40))
            saved(tmp_path / f"run{run}" / f"{number}.pt", one)
    found = summarize(find_runs([str(tmp_path)]))
    assert found.runs == [0, 0, 1, 1]
    assert found.names == ["run0/0.pt", "run0/1.pt", "run1/0.pt", "run1/1.pt"]
