"""Each refusal of a file says what it is and what to do next."""

import argparse
import datetime
import functools
import pickle
import types

import numpy as np
import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.storage import write_tensors
from tests.checkpoints.checkpoint_files import STATE, Command, assert_state, read_checkpoint, saved


def refusal(path, entry=None):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path, entry)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and len(message.split()) > 3
    assert message.isprintable() and "Placeholder" not in message
    assert len(message) < len(f"{path}: ") + 300, "cut off before its next step"
    return message


# ---- several state dicts


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ({"state_dict": STATE, "state_dict_ema": STATE}, ["state_dict", "state_dict_ema"]),
        ({"model": STATE, "ema": STATE, "epoch": 3}, ["model", "ema"]),
        ({"G": STATE, "D": STATE}, ["G", "D"]),
        (
            {"net_g": STATE, "net_d": STATE, "opt_g": {"state": {}, "param_groups": []}},
            ["net_g", "net_d"],
        ),
        ({"models": {"G": STATE, "D": STATE}, "iter": 5}, ["models.G", "models.D"]),
        ({"state_dict": {"ema": STATE, "model": STATE}}, ["state_dict.model", "state_dict.ema"]),
        ({"gen": {"model": STATE, "ema": STATE}, "disc": {"model": STATE}}, ["gen", "disc"]),
    ],
)
def test_several_state_dicts_name_the_option(tmp_path, content, options):
    path = saved(tmp_path / "a.pt", content)
    told = refusal(path)
    for one in options:
        assert f"--state-dict-key {one}" in told
    if not isinstance(content.get("gen"), dict):
        assert_state(read_checkpoint(path, options[-1]))


def test_an_entry_may_lie_under_another(tmp_path):
    doubled = {name: one * 2 for name, one in STATE.items()}
    content = {"gen": {"model": STATE, "ema": doubled}, "disc": {"model": STATE}}
    path = saved(tmp_path / "a.pt", content)
    told = refusal(path, "gen")
    assert "--state-dict-key gen.model or --state-dict-key gen.ema" in told
    assert_state(read_checkpoint(path, "gen.ema"), doubled)
    assert_state(read_checkpoint(path, "disc"))
    assert "--state-dict-key gen.ema" in refusal(path, "gen.teacher")
    assert "'teacher'" in refusal(saved(tmp_path / "b.pt", {"model": STATE}), "teacher")


def test_the_only_state_dict_needs_no_option(tmp_path):
    adam = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"params": [0]}]}
    content = {"net_g": STATE, "opt": adam, "rng": {"cpu": torch.get_rng_state()}, "epoch": 3}
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", content)))
    fastai = {"model": STATE, "opt": adam}
    assert_state(read_checkpoint(saved(tmp_path / "b.pth", fastai)))
    mmengine = {"meta": {"epoch": 3}, "state_dict": STATE, "optimizer": adam, "message_hub": {}}
    assert_state(read_checkpoint(saved(tmp_path / "c.pth", mmengine)))


def test_mappings_that_hold_each_other_are_looked_at_once(tmp_path):
    inner = {"a": 1}
    for _ in range(3):
        inner = {f"k{number}": inner for number in range(300)}
    refusal(saved(tmp_path / "a.pt", {"x": inner, "y": inner}))


# ---- pickles that need code


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)


NEEDS_CODE = {
    "datetime": {"model": STATE, "when": datetime.datetime(2024, 1, 1)},
    "SimpleNamespace": {"state_dict": STATE, "args": types.SimpleNamespace(a=1)},
    "class": {"state_dict": STATE, "hyper_parameters": {"opt": torch.optim.Adam}},
    "partial": {"model": STATE, "hyper_parameters": functools.partial(torch.optim.Adam, lr=1)},
    "network": Net(),
    "network under a key": {"epoch": -1, "model": Net(), "date": "2024"},
    "loss in hyper-parameters": {"state_dict": STATE, "hyper_parameters": {"loss": nn.MSELoss()}},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", NEEDS_CODE)
def test_what_needs_code_says_how_to_save_it_anew_and_that_works(tmp_path, what, zipped):
    path = saved(tmp_path / "a.pt", NEEDS_CODE[what], zipped)
    told = refusal(path)
    assert "if you trust the file" in told
    snippet = told.partition("again: ")[2]
    exec(snippet, {"torch": torch, "FILE": path, "NEW": tmp_path / "new.pt"})
    expected = Net().state_dict() if "network" in what else STATE
    assert list(read_checkpoint(tmp_path / "new.pt")) == list(expected)


def test_what_runs_a_command_is_not_recommended_for_loading(tmp_path):
    told = refusal(saved(tmp_path / "a.pt", {"model": STATE, "x": Command("true")}))
    assert "do not load it" in told and "torch.load" not in told


def test_arguments_and_paths_beside_weights_are_no_reason(tmp_path):
    content = {"model": STATE, "args": argparse.Namespace(lr=0.1)}
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", content)))


# ---- values that are no tensors


def test_numpy_arrays_say_how_to_save_tensors(tmp_path):
    arrays = {name: one.numpy() for name, one in STATE.items()}
    for content in ({"model": arrays}, arrays):
        told = refusal(saved(tmp_path / "a.pt", content))
        assert "NumPy array" in told and "torch.as_tensor" in told
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}))
    assert "a pickle, but not one of torch.save" in refusal(tmp_path / "a.pkl")


@pytest.mark.parametrize("extra", [None, {"scale": torch.ones(1)}, b"abc"])
def test_extra_state_says_how_to_leave_it_out(tmp_path, extra):
    told = refusal(saved(tmp_path / "a.pt", {**STATE, "fc._extra_state": extra}))
    assert "'fc._extra_state'" in told and "save the tensors alone" in told


def test_extra_state_that_is_a_tensor_is_read(tmp_path):
    content = {**STATE, "fc._extra_state": torch.zeros(0, dtype=torch.uint8)}
    assert_state(read_checkpoint(saved(tmp_path / "a.pt", content)), content)


def test_what_zero_3_leaves_is_refused(tmp_path):
    empty = {"fc.weight": torch.empty(0), "fc.bias": torch.ones(2)}
    assert "zero_to_fp32.py" in refusal(saved(tmp_path / "a.pt", empty))
    assert "zero_to_fp32.py" in refusal(
        saved(tmp_path / "b.pt", {"module": {"w": torch.empty(0)}})
    )
    write_tensors(tmp_path / "c.safetensors", empty)
    assert "zero_to_fp32.py" in refusal(tmp_path / "c.safetensors")
    fine = {"fc.weight": torch.ones(2), "seen": torch.empty(0), "wide.weight": torch.empty(0, 3)}
    assert_state(read_checkpoint(saved(tmp_path / "d.pt", fine)), fine)


# ---- other formats

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin", ".ckpt", ".pth.tar"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (POINTER, "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "Keras"),
        (b"GGUF" + bytes(99), "GGUF"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b" + bytes(99), "gzip"),
        (bytes(257) + b"ustar" + bytes(300), "tar -xf"),
        (b"", "empty"),
    ],
)
def test_formats_are_told_by_their_content(tmp_path, suffix, content, told):
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert told in refusal(tmp_path / f"a{suffix}")


def test_torch_and_safetensors_under_each_others_names(tmp_path):
    for zipped in (True, False):
        told = refusal(saved(tmp_path / "a.safetensors", STATE, zipped))
        assert "a file of torch.save" in told and "rename it to end in .pt" in told
    write_tensors(tmp_path / "b.safetensors", STATE)
    (tmp_path / "b.safetensors").rename(tmp_path / "b.pt")
    told = refusal(tmp_path / "b.pt")
    assert "a safetensors file" in told and "rename it to end in .safetensors" in told


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_archives_that_are_no_checkpoints(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "a.pt")
    assert "torch.jit.load(FILE).state_dict()" in refusal(tmp_path / "a.pt")
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "b.pt2")
    (tmp_path / "b.pt2").rename(tmp_path / "b.pt")
    assert "torch.export.load(FILE).state_dict" in refusal(tmp_path / "b.pt")
    np.savez(tmp_path / "c.npz", a=np.ones(2))
    (tmp_path / "c.npz").rename(tmp_path / "c.pt")
    assert "numpy.load(FILE)" in refusal(tmp_path / "c.pt")


def test_archives_without_checksums_are_sound(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "a.pt", STATE)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_state(read_checkpoint(path))
