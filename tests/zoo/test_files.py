"""Reading checkpoint files: what may come in, and everything that strangers may send instead."""

import codecs
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paramdiff.artefacts import write_tensors
from paramdiff.errors import UserError
from paramdiff.zoo.files import (
    MAX_HEADER_BYTES,
    MAX_MESSAGE,
    WRAPPERS,
    list_checkpoints,
    read_checkpoint,
)

STATE = {
    "conv.weight": torch.arange(24.0).reshape(2, 3, 4),
    "bn.running_mean": torch.tensor([1.5, -2.0], dtype=torch.float64),
    "bn.num_batches_tracked": torch.tensor(7),
}


class Command:
    """Unpickled by an ordinary reader, it runs a shell command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Call:
    """Unpickled, it is the result of a call that weights_only allows, with a state and items."""

    def __init__(self, function, *args, state=None, items=()):
        self.parts = function, args, state, None, iter(items)

    def __reduce__(self):
        return self.parts


def assert_state(found, expected=STATE):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def refusal(path):
    """The message of the refusal, after the checks that hold for every one."""
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert "found" in message
    assert message.isprintable()
    assert "weights_only" not in message
    assert len(message) <= len(f"{path}: ") + MAX_MESSAGE
    return message


def saved(path, content, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def archive(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return path


def entries_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


# ---- what comes in


def test_safetensors_round_trip(tmp_path):
    write_tensors(tmp_path / "a.safetensors", STATE)
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert_state({name: found[name] for name in STATE})


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_round_trip(tmp_path, suffix, zipped):
    assert_state(read_checkpoint(saved(tmp_path / f"a{suffix}", STATE, zipped)))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_networks_own_state_dict(tmp_path, zipped):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(
        memory_format=torch.channels_last
    )
    found = read_checkpoint(saved(tmp_path / "a.pt", network.state_dict(keep_vars=True), zipped))
    assert_state(found, {name: tensor.detach() for name, tensor in network.state_dict().items()})
    assert all(type(tensor) is Tensor and tensor.is_contiguous() for tensor in found.values())
    assert not any(tensor.requires_grad for tensor in found.values())


def test_tied_tensors_come_apart(tmp_path):
    weight = torch.ones(3)
    found = read_checkpoint(saved(tmp_path / "a.pt", {"a": weight, "b": weight, "c": weight[1:]}))
    found["a"].zero_()
    assert_state(found, {"a": torch.zeros(3), "b": torch.ones(3), "c": torch.ones(2)})


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers(tmp_path, wrapper):
    content = {"epoch": 3, wrapper: OrderedDict(STATE), "optimizer": {"state": [1]}, "note": None}
    assert_state(read_checkpoint(saved(tmp_path / "a.ckpt", content)))


def test_wrapper_in_wrapper(tmp_path):
    content = {"state_dict": {"model": STATE}, "best": torch.tensor(0.5)}
    assert_state(read_checkpoint(saved(tmp_path / "a.ckpt", content)))


def test_a_state_dict_with_the_name_of_a_wrapper_is_not_unwrapped(tmp_path):
    content = {"model": torch.ones(2), "weight": torch.zeros(1)}
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", content)), content)


def test_the_parallel_prefix_goes_only_where_all_have_it(tmp_path):
    parallel = {f"module.{name}": tensor for name, tensor in STATE.items()}
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", {"state_dict": parallel})))
    averaged = {"n_averaged": torch.tensor(1), **parallel}
    assert_state(read_checkpoint(saved(tmp_path / "b.pt", averaged)), averaged)


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


# ---- broken files


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello world\n" * 9, b"{}", b"\x80\x02"])
def test_other_content_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_truncated_files_are_refused(tmp_path, kind):
    data = valid_bytes(kind)
    for share in (0.1, 0.5, 0.9, 0.99):
        path = tmp_path / name_of(kind)
        path.write_bytes(data[: int(len(data) * share)])
        refusal(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    refusal(tmp_path / "none.pt")
    refusal(tmp_path)


def test_a_flipped_data_byte_is_detected(tmp_path):
    path = saved(tmp_path / "a.pt", {"weight": torch.full((8,), 3.0)})
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<f", 3.0) * 8)] ^= 1
    path.write_bytes(data)
    assert torch.load(path)["weight"][0] != 3.0  # torch itself does not see it
    assert "BadZipFile" in refusal(path)


def test_safetensors_refusals_are_printable(tmp_path):
    dtype = "F\n\x1b[31m" + "x" * 1000
    header = json.dumps({"a": {"dtype": dtype, "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refusal(path)


def test_a_large_safetensors_header_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES + 100)
    assert "header" in refusal(path)


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
    bomb = b"a"
    for _ in range(16):
        bomb = Call(codecs.encode, bomb, "hex")
    path = saved(tmp_path / "b.pt", {"state_dict": STATE, "x": bomb}, zipped)
    assert len(torch.load(path)["x"]) == 2**16
    assert "encode" in refusal(path)


def test_one_storage_under_thousands_of_names_is_refused(tmp_path):
    weight = torch.ones(2500)
    path = saved(tmp_path / "a.pt", {f"weight{i}": weight for i in range(2000)})
    assert "as the file" in refusal(path)


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


# ---- other tensors, other leaves


def quantised():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint8)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda: torch.eye(3).to_sparse(), id="coo"),
        pytest.param(lambda: torch.sparse_coo_tensor(size=(10**9, 10**9)), id="huge coo"),
        pytest.param(lambda: torch.eye(3).to_sparse_csr(), id="csr"),
        pytest.param(quantised, id="quantised"),
        pytest.param(lambda: torch.empty(3, device="meta"), id="meta"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # sparse CSR support is in beta state
def test_only_dense_tensors_come_in(tmp_path, value):
    path = saved(tmp_path / "a.pt", {"fine": torch.ones(1), "odd.weight": value()})
    assert "'odd.weight'" in refusal(path)


@pytest.mark.parametrize(
    "value", [3, 0.5, None, "text", [torch.ones(1)], {"weight": torch.ones(1)}]
)
def test_other_leaves_are_named(tmp_path, value):
    assert "'odd'" in refusal(saved(tmp_path / "a.pt", {**STATE, "odd": value}))
    assert "'odd'" in refusal(saved(tmp_path / "b.pt", {"state_dict": {**STATE, "odd": value}}))


@pytest.mark.parametrize(
    "name", [1, None, ("a", "b"), "two\nlines", "\x1b[31m", "\ud800", "\n" * 999]
)
def test_other_keys_are_refused(tmp_path, name):
    refusal(saved(tmp_path / "a.pt", {name: torch.ones(1)}))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"state_dict": {}},
        [],
        torch.ones(2),
        3,
        {"epoch": 3},
        {"model": STATE, "module": STATE},
    ],
)
def test_no_single_state_dict(tmp_path, content):
    refusal(saved(tmp_path / "a.pt", content))


def test_an_empty_safetensors_file_is_refused(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {})
    assert "empty" in refusal(tmp_path / "a.safetensors")


def test_attributes_set_by_the_file_do_not_matter(tmp_path):
    bomb = torch.ones(1).expand(10**6, 10**6)
    bomb.clone = bomb.detach = bomb.numel = OrderedDict
    path = saved(tmp_path / "a.pt", {"weight": bomb})
    assert torch.load(path)["weight"].clone() == {}
    assert "share" in refusal(path)
    state = {"items": OrderedDict, "keys": OrderedDict, "get": OrderedDict}
    path = saved(tmp_path / "b.pt", Call(OrderedDict, state=state, items=STATE.items()))
    assert torch.load(path).items() == {}
    assert_state(read_checkpoint(path))


# ---- folders


def test_natural_order_without_hidden_and_other_files(tmp_path):
    names = ["step1.safetensors", "step2.pt", "step02.pt", "step10.pth", "step10_b.bin", "z.ckpt"]
    for name in [*reversed(names), ".partial-step3.pt", ".pt", "log.txt", "step4.pt.tmp"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.pt").mkdir()
    order = ["step1.safetensors", "step02.pt", "step2.pt", "step10.pth", "step10_b.bin", "z.ckpt"]
    assert [path.name for path in list_checkpoints(tmp_path)] == order


def test_folders_without_checkpoints(tmp_path):
    (tmp_path / "log.txt").touch()
    with pytest.raises(UserError, match=r"\.safetensors, \.pt, \.pth, \.bin, \.ckpt") as caught:
        list_checkpoints(tmp_path)
    assert str(tmp_path) in str(caught.value)
    for path in (tmp_path / "none", tmp_path / "log.txt"):
        with pytest.raises(UserError) as caught:
            list_checkpoints(path)
        assert str(caught.value) == f"{path}: expected a folder of checkpoints, found none"


# ---- mutations


def name_of(kind):
    return "a.safetensors" if kind == "safetensors" else "a.pt"


@cache
def valid_bytes(kind):
    if kind == "safetensors":
        from safetensors.torch import save

        return save(STATE)
    stream = io.BytesIO()
    torch.save(STATE, stream, _use_new_zipfile_serialization=kind == "zip")
    return stream.getvalue()


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
