"""Checkpoint files from strangers: code, bombs, mutations."""

import codecs
import io
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paramdiff.errors import UserError
from tests.checkpoints.checkpoint_files import (
    STATE,
    Call,
    Command,
    archive,
    assert_state,
    entries_of,
    name_of,
    read_checkpoint,
    refusal,
    saved,
    valid_bytes,
)

# ---- code


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["whole", "leaf", "wrapper", "key"])
def test_code_is_never_executed(tmp_path, zipped, place):
    marker = tmp_path / "marker"
    command = Command(f"touch {marker}")
    content = {
        "whole": command,
        "leaf": {**STATE, "x": command},
        "wrapper": {"state_dict": STATE, "epoch": command},
        "key": {command: torch.ones(1)},
    }[place]
    path = saved(tmp_path / "a.pt", content, zipped)
    assert "system" in refusal(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the marker means something
    assert marker.exists()


def test_a_bare_pickle_is_not_executed(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "a.bin"
    path.write_bytes(pickle.dumps(Command(f"touch {marker}")))
    refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_network_is_refused(tmp_path, zipped):
    message = refusal(saved(tmp_path / "a.pt", nn.Linear(2, 2), zipped))
    assert "Linear" in message
    assert "state_dict()" in message


# ---- bombs


def test_a_deflated_archive_is_refused_before_it_is_read(tmp_path, monkeypatch):
    entries = entries_of(saved(tmp_path / "a.pt", {"weight": torch.zeros(1 << 20)}))
    path = archive(tmp_path / "b.pt", entries, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 14
    assert torch.load(path)["weight"].numel() == 1 << 20
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    monkeypatch.setattr(torch, "load", None)
    assert "compressed" in refusal(path)


def test_overlapping_entries_are_refused(tmp_path):
    path = archive(tmp_path / "a.pt", {"a/data.pkl": bytes(5000)})
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    directory = data[start:end] * 9
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, len(directory), start, 0)
    path.write_bytes(data[:start] + directory + tail)
    assert "larger" in refusal(path)


def test_a_forged_central_directory_hides_nothing(tmp_path):
    """zipfile takes the directory before the end record, torch the one at the recorded offset."""
    entries = entries_of(saved(tmp_path / "a.pt", {"weight": torch.full((4096,), 3.0)}))
    bomb = archive(tmp_path / "b.pt", entries, zipfile.ZIP_DEFLATED).read_bytes()
    with zipfile.ZipFile(tmp_path / "b.pt") as file:
        sizes = {entry.filename: entry.compress_size for entry in file.infolist()}
    same_sizes = {name: bytes(size) for name, size in sizes.items()}
    decoy = archive(tmp_path / "c.pt", same_sizes).read_bytes()
    assert len(decoy) == len(bomb)
    path = tmp_path / "d.pt"
    path.write_bytes(bomb[:-22] + decoy[:-22] + bomb[-22:])
    with zipfile.ZipFile(path) as file:
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
        assert file.testzip() is None
    assert torch.load(path)["weight"][0] == 3.0  # what zipfile approved is not what torch reads
    refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_stride_0_tensor_is_refused(tmp_path, zipped):
    path = saved(tmp_path / "a.pt", {"weight": torch.ones(1).expand(10**6, 10**6)}, zipped)
    assert "'weight'" in refusal(path)


def test_a_storage_that_is_not_in_the_file_is_refused(tmp_path):
    path = saved(tmp_path / "a.pt", {"weight": Call(torch.FloatTensor, 10**6)})
    refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_calls_that_allocate_outside_tensors_are_refused(tmp_path, zipped):
    bomb = Call(bytearray, 10**5)
    path = saved(tmp_path / "a.pt", {"state_dict": STATE, "x": bomb}, zipped)
    assert len(torch.load(path)["x"]) == 10**5
    assert "bytearray" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_strings_are_not_encoded_again_and_again(tmp_path, zipped):
    """Torch's safe loader would double them once more with each of a few bytes."""
    bomb = b"a"
    for _ in range(16):
        bomb = Call(codecs.encode, bomb, "hex")
    path = saved(tmp_path / "a.pt", {"state_dict": STATE, "x": bomb}, zipped)
    assert len(torch.load(path)["x"]) == 2**16
    for _ in range(44):
        bomb = Call(codecs.encode, bomb, "hex")
    assert_state(read_checkpoint(saved(tmp_path / "b.pt", {"state_dict": STATE, "x": bomb})))


def test_one_storage_under_thousands_of_names_is_refused(tmp_path):
    weight = torch.ones(2500)
    path = saved(tmp_path / "a.pt", {f"weight{i}": weight for i in range(2000)})
    assert "many more than the file" in refusal(path)


def test_shared_and_cyclic_nesting_is_bounded(tmp_path):
    shared = []
    for _ in range(100):
        shared = [shared, shared]
    refusal(saved(tmp_path / "a.pt", {"state_dict": shared}))
    cyclic = {"epoch": 1}
    cyclic["state_dict"] = cyclic
    assert "nested" in refusal(saved(tmp_path / "b.pt", cyclic))
    deep = STATE
    for _ in range(4):
        deep = {"model": deep}
    assert "nested" in refusal(saved(tmp_path / "c.pt", deep))


# ---- mutations


@st.composite
def mutants(draw):
    kind = draw(st.sampled_from(["safetensors", "zip", "pickle", "legacy"]))
    if kind == "pickle":  # inside an archive whose checksums are right
        entries = entries_of(io.BytesIO(valid_bytes("zip")))
        entries["archive/data.pkl"] = draw(mutations(entries["archive/data.pkl"]))
        return kind, archive(io.BytesIO(), entries).getvalue()
    return kind, draw(mutations(valid_bytes(kind)))


@st.composite
def mutations(draw, data):
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        data[start : start + length] = draw(st.binary(max_size=8))
    return bytes(data)


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(mutants())
def test_a_mutated_file_is_read_or_refused(tmp_path_factory, mutant):
    kind, data = mutant
    path = tmp_path_factory.getbasetemp() / f"mutant-{name_of(kind)}"
    path.write_bytes(data)
    try:
        found = read_checkpoint(path)
    except UserError as error:
        message = str(error)
        assert str(path) in message
        assert message.isprintable()
    else:
        assert found
        assert all(type(tensor) is Tensor for tensor in found.values())
        assert all(tensor.nbytes <= len(data) for tensor in found.values())
