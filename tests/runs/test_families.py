"""A shipped recipe of each family at tiny size: from files in the real formats to the report."""

import pytest

from paramdiff import load_recipe, run
from paramdiff.storage import read_tensors
from paramdiff.tasks import image_folder
from tests.tasks.formats import WRITERS, write_image_folder

pytest.importorskip("timm")

TINY = [
    "collection.num_checkpoints=12",
    "collection.num_held_out=4",
    "collection.skip_steps=0",
    "collection.fine_tuning.batch_size=16",
    "codec.channels=[4, 4, 4, 4, 4]",
    "codec.latent_dim=16",
    "codec.training.num_steps=8",
    "diffusion.denoiser.channels=[4, 8, 4]",
    "diffusion.training.num_steps=20",
    "generation.num_samples=6",
    "generation.num_inference_steps=10",
    "evaluation.num_trajectories=1",
]
SHORT = "collection.pretraining.epochs=1"
UNTRAINED = "task.network.pretrained=false"  # the published weights are not here
SMALL = "task.image_size=32"


@pytest.mark.parametrize(
    ("name", "task", "changes"),
    [
        ("full/mnist_cnnmedium", "mnist", []),
        pytest.param("full/stl10_vit", "stl10", [], marks=pytest.mark.slow),
        pytest.param("main/pets_resnet18", "pets", [UNTRAINED, SMALL], marks=pytest.mark.slow),
        pytest.param(
            "ablation/save_lr00003", "cifar100", [UNTRAINED, SMALL], marks=pytest.mark.slow
        ),
    ],
)
def test_a_recipe_of_each_family_runs_to_its_report(name, task, changes, tmp_path, monkeypatch):
    WRITERS[task](tmp_path / "data", monkeypatch)
    recipe = load_recipe(name, [*TINY, SHORT, *changes, f"task.root={tmp_path / 'data'}"])
    out = tmp_path / "run"
    evaluation = run(recipe, out, device="cpu")
    assert {"original", "generated", "held_out"} <= evaluation.groups.keys()
    assert evaluation.groups["generated"].n == 6
    assert (out / "report.html").is_file()
    generated = read_tensors(out / "generated" / "0005.safetensors")
    base = read_tensors(out / "zoo" / "base.safetensors")
    assert generated.keys() == base.keys()
    changed = [name for name in base if not generated[name].equal(base[name])]
    assert len(changed) == {"main": 4, "ablation": 4}.get(name.split("/")[0], len(base))


@pytest.mark.slow
def test_published_networks_run_as_they_are(tmp_path, monkeypatch):
    """ImageNet has no pre-training; its files are the user's folder."""
    monkeypatch.setattr(image_folder, "NUM_IMAGENET_CLASSES", 3)
    write_image_folder(tmp_path / "data", ("train", "val"))
    changes = [UNTRAINED, SMALL, f"task.root={tmp_path / 'data'}"]
    recipe = load_recipe("main/in1k_vittiny", [*TINY, *changes])
    evaluation = run(recipe, tmp_path / "run", device="cpu")
    assert evaluation.groups["generated"].n == 6


@pytest.mark.slow
def test_an_ablation_without_a_denoiser(tmp_path, monkeypatch):
    """The VAE baseline: latents come from its prior."""
    WRITERS["cifar100"](tmp_path / "data", monkeypatch)
    changes = [
        change
        for change in TINY
        if not change.startswith(("diffusion", "generation.num_inference_steps"))
    ]
    root = f"task.root={tmp_path / 'data'}"
    recipe = load_recipe("ablation/vae_sample", [*changes, SHORT, UNTRAINED, SMALL, root])
    evaluation = run(recipe, tmp_path / "run", device="cpu")
    assert evaluation.facts["Denoiser"] == "none: latents are drawn from N(0, I)"
    assert not (tmp_path / "run" / "pipeline" / "denoiser").exists()
