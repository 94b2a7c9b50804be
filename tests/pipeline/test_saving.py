"""Saved, and loaded elsewhere to the bit."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from paramdiff.codecs.pca import PCACodec
from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.storage import read_json, read_tensors, write_json
from tests.pipeline.parts import KINDS, build


def test_a_saved_pipeline_names_its_classes_and_holds_no_pickle(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    index = read_json(tmp_path / "p" / "model_index.json")
    assert index["_class_name"] == "ParameterDiffusionPipeline"
    for part in ("parameter_space", "codec", "denoiser"):
        assert index[part] == ["paramdiff", type(getattr(pipeline, part)).__name__]
    assert index["scheduler"] == ["diffusers", "DDPMScheduler"]
    files = [path for path in (tmp_path / "p").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:  # JSON, or safetensors' eight bytes of length and JSON
        assert b"{" in (path.read_bytes()[:1], path.read_bytes()[8:9]), path


def test_classes_stay_members_of_their_files(pipeline, tmp_path):
    pipeline.codec = pipeline.codec  # a part that is replaced is named alike
    pipeline.save_pretrained(tmp_path / "p")
    loaded = ParameterDiffusionPipeline.from_pretrained(tmp_path / "p")
    assert loaded.config.codec == ("paramdiff", type(pipeline.codec).__name__)
    for part in (loaded.parameter_space, loaded.codec, loaded.denoiser):
        module = sys.modules[type(part).__module__]
        assert getattr(module, type(part).__name__) is type(part)
        assert module.__name__.startswith("paramdiff.")


def test_loaded_parts_are_equal_and_ready(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    loaded = ParameterDiffusionPipeline.from_pretrained(tmp_path / "p")
    for field in ("statistics", "standardize", "num_inference_steps", "temperature", "batch_size"):
        assert loaded.config[field] == pipeline.config[field]
    assert type(loaded.scheduler) is type(pipeline.scheduler)
    assert torch.equal(loaded.scheduler.betas, pipeline.scheduler.betas)
    for part in ("parameter_space", "codec", "denoiser"):
        one, other = getattr(pipeline, part), getattr(loaded, part)
        assert type(one) is type(other) and not other.training
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
    assert torch.equal(loaded(seeds=range(3)).vectors, pipeline(seeds=range(3)).vectors)


def test_a_loaded_pipeline_can_be_saved_again(saved, tmp_path):
    loaded = ParameterDiffusionPipeline.from_pretrained(saved)
    loaded.save_pretrained(tmp_path / "again")
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "again")
    assert torch.equal(again(seeds=[1, 2]).vectors, loaded(seeds=[1, 2]).vectors)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0),
        ("num_inference_steps", "x"),
        ("statistics", "mine"),
        ("temperature", -1.0),
        ("standardize", "no"),
        ("guidance_scale", None),
    ],
)
def test_what_a_stranger_wrote_into_the_index_must_make_sense(saved, tmp_path, key, value):
    saved = shutil.copytree(saved, tmp_path / "mine")
    index = read_json(saved / "model_index.json")
    write_json(saved / "model_index.json", index | {key: value})
    with pytest.raises(UserError, match=rf"model_index\.json: {key}: .*, found {value!a}"):
        ParameterDiffusionPipeline.from_pretrained(saved)


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ({"num_steps": 10, "spread": 1.0}, "num_steps"),
        ({"standardise": True}, "standardise"),
        ({"codec": ["paramdiff", "LinearCodec"]}, "LinearCodec"),
        ({"denoiser": ["paramdiff", "ConvolutionalDenoiser"]}, "ConvolutionalDenoiser"),
    ],
)
def test_a_pipeline_of_an_earlier_version_is_refused_in_one_line(saved, tmp_path, old, told):
    saved = shutil.copytree(saved, tmp_path / "mine")
    write_json(saved / "model_index.json", read_json(saved / "model_index.json") | old)
    with pytest.raises(UserError) as caught:
        ParameterDiffusionPipeline.from_pretrained(saved)
    assert str(caught.value) == (
        f"{saved / 'model_index.json'}: written by an earlier version of paramdiff ({told}), "
        "which this one does not read; generate it anew"
    )


def test_a_part_of_an_earlier_version_is_refused_in_one_line(saved, tmp_path):
    codec = shutil.copytree(saved / "codec", tmp_path / "codec")
    write_json(
        codec / "config.json", read_json(codec / "config.json") | {"_class_name": "LinearCodec"}
    )
    with pytest.raises(UserError, match=r"codec: written by an earlier version .*LinearCodec"):
        PCACodec.from_pretrained(codec)


SAMPLE = """
import sys, torch
torch.set_num_threads(1)
from paramdiff import ParameterDiffusionPipeline
from paramdiff.storage import write_tensors
from pathlib import Path
for folder in map(Path, sys.argv[1:]):
    generated = ParameterDiffusionPipeline.from_pretrained(folder)(seeds=range(6))
    for seed, state_dict in zip(generated.seeds, generated):
        write_tensors(folder.with_name(f"{folder.name}-{seed}"), state_dict)
"""


def test_a_new_process_gives_the_same_bits(tmp_path):
    pipelines = {"-".join(kinds): build(*kinds) for kinds in KINDS}
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(tmp_path / name)
    folders = [str(tmp_path / name) for name in pipelines]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", SAMPLE, *folders], env=environment, check=True)
    for name, pipeline in pipelines.items():
        for seed, state_dict in enumerate(pipeline(seeds=range(6))):
            found = read_tensors(tmp_path / f"{name}-{seed}")
            assert found.keys() == state_dict.keys()
            for key, tensor in state_dict.items():
                assert torch.equal(found[key], tensor), (name, seed, key)


def test_the_hub_is_diffusers_own():
    from diffusers import DiffusionPipeline

    assert ParameterDiffusionPipeline.push_to_hub is DiffusionPipeline.push_to_hub
