"""Numbers and labels in the headers of safetensors files."""

import json

import pytest
import torch
from safetensors.torch import save_file

from paramdiff.checkpoints.recorded import recorded_base, recorded_metadata, recorded_values
from paramdiff.storage import METADATA_KEY


def file_with(folder, header):
    path = folder / "one.safetensors"
    save_file({"w": torch.zeros(2)}, path, header)
    return path


def test_numbers_in_anybodys_header_are_values(tmp_path):
    header = {"format": "pt", "loss": "0.25", "val/acc": "9e-1", "lr": "nan", "hash": "ab12"}
    assert recorded_values(file_with(tmp_path, header)) == {"loss": 0.25, "val/acc": 0.9}


@pytest.mark.parametrize(
    "own",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[1]",
        '{"recorder": "checkpoint", "metrics": 3}',
        '{"recorder": "checkpoint", "metrics": {"a": [1], "b": null, "c": true, "d": NaN}}',
        '{"recorder": "checkpoint", "metrics": {"a\\n": 1, "b": "x\\ny", "c": ""}}',
        json.dumps({"recorder": "checkpoint", "metrics": {"a" * 1000: 1, "b": "b" * 1000}}),
        '{"recorder": ["checkpoint"], "metrics": {"a": 1}}',
        '{"recorder": "checkpoint", "metrics": {"a": 1' + "0" * 400 + "}}",
        '{"recorder": "checkpoint", "epoch": [1]}',
        '{"metrics": {"a": 1}}',
    ],
)
def test_other_values_are_ignored(tmp_path, own):
    assert recorded_values(file_with(tmp_path, {METADATA_KEY: own})) == {}


def test_damaged_and_other_files_have_no_values(tmp_path):
    for name, content in (("a.safetensors", b"\xff" * 20), ("b.pt", b"x"), ("c.json", b"{}")):
        (tmp_path / name).write_bytes(content)
        assert recorded_values(tmp_path / name) == recorded_metadata(tmp_path / name) == {}
    assert recorded_values(tmp_path) == recorded_values(tmp_path / "none.safetensors") == {}


def test_complete_checkpoints_need_no_base(tmp_path):
    assert (
        recorded_base([file_with(tmp_path, {METADATA_KEY: '{"recorder": "checkpoint"}'})]) is None
    )
    assert recorded_base([file_with(tmp_path, {})]) is None
