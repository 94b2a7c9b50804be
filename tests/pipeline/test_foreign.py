"""Folders that must not load."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.storage import read_json, read_tensors, write_json, write_tensors
from tests.pipeline.parts import WEIGHTS


def refused(folder, *named):
    with pytest.raises(UserError) as caught:
        ParameterDiffusionPipeline.from_pretrained(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for name in (str(folder), *named):
        assert name in message, message


def test_the_untouched_copy_loads(copied):
    assert len(ParameterDiffusionPipeline.from_pretrained(str(copied))(seeds=[0])) == 1


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "codec/config.json",
        f"codec/{WEIGHTS}",
        f"denoiser/{WEIGHTS}",
        "parameter_space/base.safetensors",
        f"parameter_space/{WEIGHTS}",
        "scheduler/scheduler_config.json",
        "codec",
        "denoiser",
        "scheduler",
        "parameter_space",
    ],
)
def test_a_missing_file_or_folder_is_named(copied, file):
    path = copied / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(copied, file.split("/")[0])


@pytest.mark.parametrize(
    "file", ["evil.py", "codec/modeling.py", "denoiser/pytorch_model.bin", "scheduler/x.json"]
)
def test_a_foreign_file_is_named(copied, file):
    (copied / file).write_text("import os")
    refused(copied, Path(file).name)


@pytest.mark.parametrize(
    "file", [f"codec/{WEIGHTS}", f"denoiser/{WEIGHTS}", "parameter_space/base.safetensors"]
)
def test_truncated_weights_are_named(copied, file):
    content = (copied / file).read_bytes()
    (copied / file).write_bytes(content[:-8])
    refused(copied, file.split("/")[0])


@pytest.mark.parametrize("part", ["codec", "denoiser", "parameter_space"])
def test_an_extra_tensor_is_named(copied, part):
    path = copied / part / WEIGHTS
    save_file({**read_tensors(path), "stowaway": torch.zeros(2)}, path, {"format": "pt"})
    refused(copied, part, "stowaway")


@pytest.mark.parametrize(
    ("part", "tensor"), [("codec", "latent_mean"), ("denoiser", "output.bias")]
)
def test_a_missing_tensor_is_named(copied, part, tensor):
    path = copied / part / WEIGHTS
    tensors = read_tensors(path)
    del tensors[tensor]
    save_file(tensors, path, {"format": "pt"})
    refused(copied, part, tensor)


def test_a_misshapen_tensor_is_refused(copied):
    path = copied / "denoiser" / WEIGHTS
    save_file({**read_tensors(path), "output.bias": torch.zeros(99)}, path, {"format": "pt"})
    refused(copied, "denoiser", "output.bias")


def test_a_base_without_the_selected_tensors_is_refused(copied):
    path = copied / "parameter_space" / "base.safetensors"
    tensors = read_tensors(path)
    del tensors["4.weight"]
    write_tensors(path, tensors)
    refused(copied, "4.weight")


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["paramdiff", "MLPDenoiser"],
        ["paramdiff", "Zoo"],
        ["paramdiff"],
        ["diffusers", "UNet2DModel"],
        "PCACodec",
        [None, None],
        None,
    ],
)
@pytest.mark.parametrize("part", ["codec", "scheduler"])
def test_an_index_with_other_classes_is_refused(copied, part, entry):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, part: entry})
    refused(copied, part)


def test_an_index_with_a_further_part_is_refused(copied):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, "extra": ["os", "system"]})
    refused(copied)


def test_an_index_of_another_pipeline_is_refused(copied):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, "_class_name": "DDPMPipeline"})
    refused(copied, "model_index.json", "ParameterDiffusionPipeline")
    write_json(copied / "model_index.json", [index])
    refused(copied, "model_index.json")
    (copied / "model_index.json").write_text("{")
    refused(copied, "model_index.json", "JSON")


def test_a_part_of_another_class_is_refused(copied):
    path = copied / "denoiser" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "_class_name": "Conv1dDenoiser"}))
    refused(copied, "denoiser", "Conv1dDenoiser", "MLPDenoiser")


def test_a_missing_folder_and_a_file_are_refused(tmp_path, monkeypatch):
    refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")
    monkeypatch.chdir(tmp_path.parent)  # owner/name would be looked up on the Hub
    refused(Path(tmp_path.name) / "file")
    refused("nowhere")
