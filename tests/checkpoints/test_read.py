"""Reading checkpoint files: what may come in, and what is broken."""

import json
import struct
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from paramdiff.checkpoints.container import WRAPPERS
from paramdiff.checkpoints.read import (
    MAX_HEADER_BYTES,
)
from paramdiff.storage import write_tensors
from tests.checkpoints.checkpoint_files import (
    STATE,
    Call,
    assert_state,
    name_of,
    read_checkpoint,
    refusal,
    saved,
    valid_bytes,
)


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


# ---- other tensors, other leaves


def quantized():
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
        pytest.param(quantized, id="quantized"),
        pytest.param(lambda: torch.empty(3, device="meta"), id="meta"),
        pytest.param(lambda: torch.ones(3).to(torch.float8_e4m3fn), id="8 bits"),
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
