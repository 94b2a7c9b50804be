"""Pipelines given away, to a folder and to a Hub that never leaves the machine."""

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch

from paramdiff.commands.push import push
from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.pipeline_io import locate_pipeline
from paramdiff.storage import sha256_of

from .local_hub import local_hub


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def run_folder(tiny_run, tmp_path):
    """A run that may be changed; its generator and its recipe only."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run / "pipeline", folder / "pipeline")
    shutil.copy(tiny_run / "recipe.yaml", folder)
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with local_hub(monkeypatch, tmp_path / "cache") as found:
        yield found


def refusal(*arguments, **options):
    with pytest.raises(UserError) as caught:
        push(*arguments, **options)
    told = str(caught.value)
    assert told.isprintable() and len(told) < 500
    return told


# ---- a folder


@pytest.mark.parametrize("part", [".", "pipeline"])
def test_a_folder_gets_the_pipelines_files_and_nothing_else(run_folder, tmp_path, part):
    (run_folder / "pipeline" / ".cache").mkdir()
    (run_folder / "pipeline" / ".cache" / "secret").write_text("")
    assert push(run_folder / part, str(tmp_path / "given" / "away")) == str(
        tmp_path / "given" / "away"
    )
    found = files_of(tmp_path / "given" / "away")
    (run_folder / "pipeline" / ".cache" / "secret").unlink()
    assert found == files_of(run_folder / "pipeline") and "README.md" in found
    one, other = (
        ParameterDiffusionPipeline.from_pretrained(folder)(seeds=[3]).vectors
        for folder in (run_folder / "pipeline", tmp_path / "given" / "away")
    )
    assert torch.equal(one, other)


def test_what_cannot_be_copied_is_refused(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "found neither" in refusal(tmp_path, "new")
    Path("mine").mkdir()
    assert "exists already; name a new folder" in refusal(run_folder, "mine")
    assert "found what may be either: say ./mine/new or hf://mine/new" in refusal(
        run_folder, "mine/new"
    )
    assert "--public" in refusal(run_folder, "./mine/new", public=True)
    (run_folder / "pipeline" / "notes.txt").write_text("")
    assert "notes.txt" in refusal(run_folder, "./mine/new")
    assert list(Path("mine").iterdir()) == []


# ---- the Hub


def test_there_and_back(run_folder, hub):
    assert push(run_folder, "me/generator").endswith("/me/generator")
    repository = hub.repositories["me/generator"]
    assert repository["private"] and repository["commits"] == 1
    there = {name: data for name, data in hub.files("me/generator").items() if name[0] != "."}
    assert there == files_of(run_folder / "pipeline")
    back = locate_pipeline("me/generator")
    assert sha256_of(back) == sha256_of(run_folder / "pipeline")
    loaded = ParameterDiffusionPipeline.from_pretrained("me/generator")
    own = ParameterDiffusionPipeline.from_pretrained(run_folder / "pipeline")
    assert torch.equal(loaded(seeds=[3]).vectors, own(seeds=[3]).vectors)


def test_another_kind_of_repository_is_not_downloaded(hub):
    files = {"config.json": b"{}", "model.safetensors": b"far too large"}
    hub.create("me/network", private=False, files=files)
    with pytest.raises(UserError, match="me/network: no folder of this name, and the Hub gave no"):
        locate_pipeline("me/network")
    index = json.dumps({"_class_name": "StableDiffusionPipeline"}).encode()
    hub.create("me/images", private=False, files={**files, "model_index.json": index})
    with pytest.raises(UserError, match="not the index of a ParameterDiffusionPipeline"):
        locate_pipeline("me/images")
    assert not [path for _, path in hub.requests if path.endswith("model.safetensors")]


def test_another_push_is_one_commit_that_leaves_nothing_stale(run_folder, hub):
    stale = {"model_index.json": b"{}", "codec/diffusion_pytorch_model-1-of-2.safetensors": b""}
    hub.create("me/generator", private=False, files={".gitattributes": b"", **stale})
    assert push(run_folder, "hf://me/generator", public=True).endswith("/me/generator")
    assert hub.repositories["me/generator"]["commits"] == 1
    assert not {name for name in hub.files("me/generator") if "1-of-2" in name}
    assert ".gitattributes" in hub.files("me/generator")


def test_nothing_becomes_public_by_accident(run_folder, hub):
    hub.create("me/shown", private=False)
    assert "expected a private repository, found a public one" in refusal(run_folder, "me/shown")
    hub.create("me/hidden", private=True)
    told = refusal(run_folder, "me/hidden", public=True)
    assert "expected a public repository, found a private one" in told
    assert hub.files("me/shown") == hub.files("me/hidden") == {}
    push(run_folder, "me/new", public=True)
    assert not hub.repositories["me/new"]["private"]


def test_somebody_elses_repository_is_left_alone(run_folder, hub):
    for files in ({"README.md": b"", "weights.bin": b""}, {"codec/config.json": b"{}"}):
        hub.create("me/other", private=True, files=files)
        assert "expected a new repository or one of a pipeline" in refusal(run_folder, "me/other")
        assert hub.files("me/other") == files
    assert "rights" in refusal(run_folder, "you/generator")


def test_without_a_token_or_a_network_one_line_says_so(run_folder, hub, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "Invalid username" in refusal(run_folder, "me/generator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "the Hub did not take the pipeline" in refusal(run_folder, "me/generator")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "expected a token for the Hub, found none" in refusal(run_folder, "me/generator")
    assert hub.repositories == {}
