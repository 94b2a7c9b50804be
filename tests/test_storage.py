"""Files and folders appear whole or not at all, and come back as they were written."""

import os
import stat
from pathlib import Path

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.storage import (
    read_json,
    read_metadata,
    read_tensors,
    remove,
    sha256_of,
    write_json,
    write_tensors,
    write_text,
    write_torch,
    written_aside,
)

TENSORS = {
    "weight": torch.arange(6.0).view(2, 3),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "half": torch.tensor([0.1], dtype=torch.bfloat16),
    "count": torch.tensor(7),
}


@pytest.fixture
def umask_022():
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("half")
        raise RuntimeError("half-way")
    assert names(tmp_path) == []


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), written_aside(tmp_path / "zoo") as aside:
        aside.mkdir()
        (aside / "0000").write_text("half")
        raise RuntimeError("half-way")
    assert names(tmp_path) == []


def test_a_file_that_fails_leaves_the_one_before_it(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("new")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    reader = path.open()  # whoever has the old file open keeps it whole
    with written_aside(path) as aside:
        aside.write_text("new")
        assert aside.parent == path.parent and aside.name.startswith(".partial-")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert reader.read() == "old"
    reader.close()
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_whole_and_parents_are_made(tmp_path):
    path = tmp_path / "deep" / "zoo"
    with written_aside(path) as aside:
        aside.mkdir()
        (aside / "0000").write_text("whole")
        assert not path.exists()
    assert (path / "0000").read_text() == "whole"
    assert names(path.parent) == ["zoo"]


def test_what_a_killed_run_left_is_swept_away(tmp_path):
    left = tmp_path / ".partial-zoo"
    left.mkdir()
    (left / "stale").write_text("from a killed run")
    with written_aside(tmp_path / "zoo") as aside:
        aside.mkdir()
    assert names(tmp_path) == ["zoo"] and names(tmp_path / "zoo") == []


def test_remove_takes_files_folders_links_and_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder" / "file").read_text() == "kept"
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")
    assert names(tmp_path) == []


def test_tensors_and_metadata_come_back(tmp_path):
    metadata = {"seed": 3, "nested": [1, {"b": None}]}
    write_tensors(tmp_path / "t.safetensors", TENSORS, metadata)
    found = read_tensors(tmp_path / "t.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert read_metadata(tmp_path / "t.safetensors") == metadata


def test_shared_and_strided_tensors_are_written_as_they_look(tmp_path):
    square = torch.arange(9.0).view(3, 3)
    write_tensors(tmp_path / "t.safetensors", {"whole": square, "turned": square.T})
    assert torch.equal(read_tensors(tmp_path / "t.safetensors")["turned"], square.T)
    assert read_metadata(tmp_path / "t.safetensors") is None


WRITERS = {
    "text": lambda path: write_text(path, "a" * 9000),
    "json": lambda path: write_json(path, ["a" * 9000]),
    "tensors": lambda path: write_tensors(path, {"a": torch.zeros(9000)}),
    "torch": lambda path: write_torch(path, {"a": torch.zeros(9000)}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, small_files, kind):
    path = tmp_path / "artifact"
    path.write_text("old")
    with small_files(4000), pytest.raises(UserError) as caught:
        WRITERS[kind](path)
    assert str(caught.value) == f"{path}: cannot be written: File too large"
    assert names(tmp_path) == ["artifact"] and path.read_text() == "old"
    WRITERS[kind](path)
    assert path.stat().st_size >= 9000


@pytest.mark.parametrize("kind", ["text", "json", "torch"])  # safetensors takes no device
def test_a_really_full_disk_reads_alike(monkeypatch, tmp_path, kind):
    """``/dev/full`` takes nothing; who writes a file aside is led there."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / ".partial-artifact").symlink_to("/dev/full")
    monkeypatch.setattr("paramdiff.storage.remove", lambda path: None)
    with pytest.raises(UserError, match="No space left on device"):
        WRITERS[kind](tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (KeyError("a"), FileNotFoundError(2, "none", "b"), UserError("c")):
        with pytest.raises(type(error)) as caught, written_aside(tmp_path / "a"):
            raise error
        assert caught.value is error


def test_a_folder_that_somebody_made_meanwhile_is_kept(tmp_path):
    with pytest.raises(UserError, match="not empty"), written_aside(tmp_path / "new") as aside:
        aside.mkdir()
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").write_text("theirs")
    assert names(tmp_path / "new") == ["theirs"] and names(tmp_path) == ["new"]


def test_what_torch_writes_does_not_depend_on_the_name(tmp_path):
    for name in ("one", "another.pt"):
        write_torch(tmp_path / name, {"a": torch.ones(3)})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "another.pt").read_bytes()


def test_bytes_depend_on_content_alone(tmp_path):
    write_tensors(tmp_path / "one", TENSORS, {"b": 1, "a": 2})
    write_tensors(tmp_path / "two", dict(reversed(TENSORS.items())), {"a": 2, "b": 1})
    write_tensors(tmp_path / "other", TENSORS, {"a": 2, "b": 2})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "other")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_mode_follows_the_umask(tmp_path, umask_022, mask):
    os.umask(mask)
    write_tensors(tmp_path / "t.safetensors", TENSORS)
    write_text(tmp_path / "t.txt", "")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path.name
    assert os.umask(mask) == mask  # and is left as it was


def test_hash_of_a_folder_covers_names_and_content(tmp_path):
    for folder, file in (("one", "a"), ("two", "a"), ("renamed", "b")):
        write_text(tmp_path / folder / "sub" / file, "same")
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "renamed")
    write_text(tmp_path / "two" / "sub" / "a", "changed")
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "two")


def test_json_is_strict_and_comes_back(tmp_path):
    value = {"a": [1, 2.5, None, "ä"]}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    with pytest.raises(ValueError):
        write_json(tmp_path / "nan.json", float("nan"))
    assert names(tmp_path) == ["v.json"]


@pytest.mark.parametrize("reader", [read_json, read_tensors])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x00 odd", b"{", b'{"a":1,"a":2}', "cut"])
def test_what_cannot_be_read_is_named(tmp_path, reader, content):
    path = tmp_path / "file"
    if content == "cut":
        write_tensors(path, TENSORS)
        content = path.read_bytes()[:-1]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("reader", [read_json, read_tensors])
def test_a_folder_is_no_file(tmp_path, reader):
    with pytest.raises(UserError, match=str(tmp_path)):
        reader(tmp_path)


def test_a_card_and_hidden_files_do_not_change_a_folders_hash(tmp_path):
    write_text(tmp_path / "one" / "part" / "a", "same")
    before = sha256_of(tmp_path / "one")
    write_text(tmp_path / "one" / "README.md", "# About it")
    write_text(tmp_path / "one" / ".cache" / "x", "")
    assert sha256_of(tmp_path / "one") == before
    write_text(tmp_path / "one" / "part" / "README.md", "not the folder's own")
    assert sha256_of(tmp_path / "one") != before
