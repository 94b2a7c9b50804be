"""Checkpoint files that tests write, and how their refusals read."""

import io
import os
import zipfile
from functools import cache

import pytest
import torch

from paramdiff.checkpoints.read import (
    MAX_MESSAGE,
    read_file,
)
from paramdiff.errors import UserError

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


def read_checkpoint(path, entry=None):
    """The state dict alone."""
    return read_file(path, entry)[0]


def assert_state(found, expected=STATE):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def refusal(path):
    """The message of the refusal, after the checks that hold for every one."""
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    assert len(message.removeprefix(f"{path}: ").split()) > 3
    assert "weights_only=True" not in message and "Weights only" not in message  # torch's words
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
