"""Tiny versions of the paper's recipes run end to end, from data in their real on-disk formats."""

import pytest

from paramdiff.artefacts import read_json
from paramdiff.experiment import run
from paramdiff.recipe import load_recipe
from tasks.formats import WRITERS

TINY = [
    "collection.num_checkpoints=6",
    "collection.num_held_out=2",
    "collection.fine_tuning.batch_size=8",
    "codec.channels=[2, 2, 2, 2, 2]",
    "codec.latent_dim=8",
    "codec.training.num_steps=3",
    "generation.num_samples=3",
    "evaluation.num_trajectories=0",
]
TINY_DENOISER = [
    "diffusion.denoiser.channels=[4, 8, 4]",
    "diffusion.training.num_steps=3",
    "diffusion.schedule.num_timesteps=10",
    "generation.num_steps=10",
]
UNTRAINED = ["task.network.pretrained=false", "task.image_size=32"]
PRETRAINING = ["collection.pretraining.epochs=1", "collection.pretraining.batch_size=16"]


def tiny_run(name, folder, monkeypatch, *overrides):
    """Write the recipe's data in their real format, run it, and return its evaluation."""
    pytest.importorskip("torchvision")
    data = load_recipe(name).task.name
    WRITERS[data](folder / "data", monkeypatch)
    recipe = load_recipe(name, [*TINY, *overrides, f"task.root={folder / 'data'}"])
    evaluation = run(recipe, folder / "run", device="cpu")
    stored = read_json(folder / "run" / "evaluation.json")
    assert (folder / "run" / "report.html").is_file() and stored["schema"] == 1
    counts = {group: evaluation.groups[group].n for group in ("original", "held_out", "generated")}
    assert counts == {"original": 6, "held_out": 2, "generated": 3}
    return evaluation


def test_a_whole_network(tmp_path, monkeypatch):
    changes = [*TINY_DENOISER, *PRETRAINING, "collection.skip_steps=2"]
    evaluation = tiny_run("full/mnist_cnnmedium", tmp_path, monkeypatch, *changes)
    assert "10,853 of 10,853" in evaluation.facts["Generated parameters"]
    steps = [c["step"] for c in read_json(tmp_path / "run" / "zoo" / "index.json")["checkpoints"]]
    assert steps == list(range(3, 11))


def test_normalisation_layers(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    changes = [*TINY_DENOISER, *PRETRAINING, *UNTRAINED]
    evaluation = tiny_run("main/stl10_resnet18", tmp_path, monkeypatch, *changes)
    assert "2,048 of 11," in evaluation.facts["Generated parameters"]
    steps = [c["step"] for c in read_json(tmp_path / "run" / "zoo" / "index.json")["checkpoints"]]
    assert steps == [3, 4, 7, 8, 11, 12, 15, 16]  # 4 a pass, of which the first two are skipped


@pytest.mark.slow
def test_an_ablation(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    changes = [*PRETRAINING, *UNTRAINED, "collection.fine_tuning.batch_size=100"]
    evaluation = tiny_run("ablation/vae_sample", tmp_path, monkeypatch, *changes)
    assert evaluation.facts["Denoiser"] == "none: latents are drawn from N(0, I)"
    assert not (tmp_path / "run" / "pipeline" / "denoiser").exists()
