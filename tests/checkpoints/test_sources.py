"""What a user names is found in order; each folder of checkpoints is a run."""

import pytest
import torch

from paramdiff.checkpoints.sources import find_checkpoints, find_runs
from paramdiff.errors import UserError
from paramdiff.storage import write_tensors
from tests.checkpoints.checkpoint_files import STATE


def filled(folder, *names):
    for name in names:
        write_tensors(folder / name, STATE)
    return folder


def names_of(*sources):
    return [[stored.name for stored in run] for run in find_runs([str(one) for one in sources])]


def refusal(*sources):
    with pytest.raises(UserError) as caught:
        find_runs([str(one) for one in sources])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_folder_in_natural_order_without_hidden_and_other_files(tmp_path):
    names = ["step1.safetensors", "step2.pt", "step02.pt", "step10.pth", "step10_b.bin", "z.ckpt"]
    for name in [*reversed(names), ".partial-step3.pt", ".pt", "log.txt", "step4.pt.tmp"]:
        (tmp_path / name).touch()
    order = ["step1.safetensors", "step02.pt", "step2.pt", "step10.pth", "step10_b.bin", "z.ckpt"]
    assert names_of(tmp_path) == [order]


def test_files_and_globs_of_one_folder_are_one_run(tmp_path):
    filled(tmp_path, "step2.pt", "step10.pt", "best/last.pt")
    assert names_of(tmp_path / "best" / "last.pt", f"{tmp_path}/step*.pt") == [
        ["step2.pt", "step10.pt", "best/last.pt"]
    ]


def test_sub_folders_and_several_folders_are_runs(tmp_path):
    filled(tmp_path, "a/1.pt", "a/2.pt", "b/1.pt", "c10/x/1.pt", "c9/x/1.pt")
    assert names_of(tmp_path / "a", tmp_path / "b") == [["a/1.pt", "a/2.pt"], ["b/1.pt"]]
    assert names_of(f"{tmp_path}/c*/x") == [["c9/x/1.pt"], ["c10/x/1.pt"]]
    assert names_of(tmp_path) == [
        *(["a/1.pt", "a/2.pt"], ["b/1.pt"]),
        *(["c9/x/1.pt"], ["c10/x/1.pt"]),
    ]


def test_folders_that_a_library_wrote_are_checkpoints(tmp_path):
    for step in (500, 1000, 90):
        folder = filled(tmp_path / f"checkpoint-{step}", "model.safetensors")
        (folder / "config.json").write_text("{}")
        (folder / "optimizer.pt").touch()
    assert names_of(tmp_path) == [["checkpoint-90", "checkpoint-500", "checkpoint-1000"]]
    assert names_of(tmp_path / "checkpoint-90") == [["checkpoint-90"]]


def test_what_is_not_there_is_told(tmp_path):
    assert str(tmp_path / "none") in refusal(tmp_path / "none")
    assert ".safetensors" in refusal(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    assert "matches the pattern" in refusal(f"{tmp_path}/*.pt")


# ---- the Hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A download cache as the Hub's library lays it out, and no network."""
    root = tmp_path / "hub" / "models--someone--network"
    for number, revision in enumerate(("main", "step1", "step2")):
        commit = f"{number}" * 40
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / revision).write_text(commit)
        folder = root / "snapshots" / commit
        write_tensors(folder / "model.safetensors", {"a": torch.full((2,), float(number))})
        (folder / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("cache")
def test_revisions_of_a_repository_are_checkpoints():
    found = find_checkpoints(["someone/network@step2,step1"])
    assert [float(stored.read()[0]["a"][0]) for stored in found.listed] == [1.0, 2.0]
    assert [stored.name for stored in found.listed] == ["step1", "step2"]
    assert found.notes == (
        "the checkpoints are in training order (step1 ... step2), not in the order given",
    )
    (run,) = find_runs(["someone/network"])
    assert float(run[0].read()[0]["a"][0]) == 0.0


@pytest.mark.usefixtures("cache")
def test_the_snapshots_of_a_cache_are_called_by_their_revisions(tmp_path):
    root = tmp_path / "hub" / "models--someone--network"
    for revision, digit in (("step1000", "3"), ("step200", "4")):
        (root / "refs" / revision).write_text(digit * 40)
        write_tensors(root / "snapshots" / (digit * 40) / "model.safetensors", STATE)
    (root / "blobs").mkdir()
    torch.save(STATE, root / "blobs" / ("f" * 64))  # what the snapshots of other files link to
    order = ["step1", "step2", "step200", "step1000", "main"]
    assert names_of(root) == names_of(root / "snapshots") == [order]
    (note,) = find_checkpoints([str(root)]).notes
    assert note == "the training step of main is unknown: placed last in its run"


@pytest.mark.usefixtures("cache")
def test_a_repository_that_cannot_be_reached_is_told():
    message = refusal("someone/other@step1")
    assert message.startswith("someone/other@step1: neither a local path nor a repository")
    assert len(message) < 400
