"""The recipes of other tasks at tiny size: from files in the real formats to the report."""

import numpy as np
import pytest
import torch

from paramdiff import load_recipe, run
from paramdiff.storage import read_tensors
from paramdiff.tasks.registry import build_task
from tests.paper.coco_folder import write_coco
from tests.tasks.formats import labels, pixels

pytest.importorskip("torchvision")

TINY = [
    "preset=default",
    "task.network.pretrained=false",  # the published weights are not here
    "collection.pretraining={epochs: 2, batch_size: 4, lr: 0.001}",
    "collection.fine_tuning.batch_size=4",
    "collection.num_checkpoints=4",
    "collection.num_held_out=2",
    "diffusion.training.num_steps=10",
    "generation.num_samples=2",
    "generation.num_inference_steps=5",
    "evaluation.num_trajectories=0",
]


def write_arrays(path):
    """Images that are smooth enough for something to be learned."""
    images = [pixels(num, 4, seed=num).repeat(8, 2).repeat(8, 3) for num in (24, 8)]
    truth = [labels(24), labels(8)]
    np.savez(path, x_train=images[0], y_train=truth[0], x_test=images[1], y_test=truth[1])
    return path


def write_data(name, folder):
    if name == "other/ddpm_unet":
        return write_arrays(folder / "images.npz")
    pytest.importorskip("pycocotools")
    write_coco(folder / "coco", num_train=8, num_test=2)
    return folder / "coco"


@pytest.mark.parametrize(
    ("name", "changes", "score", "has_errors"),
    [
        (
            "other/ddpm_unet",
            ["task.network.name=unet8", "task.image_size=16"],
            "minus the error of the predicted noise",
            False,
        ),
        pytest.param(
            "other/fcn",
            [
                "task.network.name=torchvision/lraspp_mobilenet_v3_large",
                "task.image_size=32",
                "parameters.select=['backbone.16.1.weight', 'backbone.16.1.bias']",
            ],
            "mIoU",
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param("other/fcn", ["task.image_size=32"], "mIoU", True, marks=pytest.mark.slow),
        pytest.param(
            "other/fasterrcnn",
            [
                "task.network.name=torchvision/fasterrcnn_mobilenet_v3_large_320_fpn",
                "task.image_size=32",
            ],
            "average precision",
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "other/fcos", ["task.image_size=32"], "average precision", True, marks=pytest.mark.slow
        ),
    ],
)
def test_a_recipe_of_each_task_runs_to_its_report(name, changes, score, has_errors, tmp_path):
    root = write_data(name, tmp_path)
    recipe = load_recipe(name, [*TINY, *changes, f"task.root={root}"])
    out = tmp_path / "run"
    evaluation = run(recipe, out, device="cpu")
    assert {"original", "generated", "held_out"} <= evaluation.groups.keys()
    assert evaluation.score_info.name == score
    assert evaluation.score_info.is_per_example == (name == "other/ddpm_unet")
    assert (evaluation.groups["generated"].max_similarity is not None) == has_errors
    assert score in (out / "report.html").read_text(encoding="utf-8")
    base = read_tensors(out / "zoo" / "base.safetensors")
    task, found = build_task(recipe.task), []
    for number in range(2):
        generated = read_tensors(out / "generated" / f"000{number}.safetensors")
        changed = {key for key in base if not torch.equal(base[key], generated[key])}
        assert changed == {key for key in base if matches(key, recipe)}
        network = task.build_network()
        network.load_state_dict(generated)
        found.append(task.score(network, "test").values.mean().item())
    mean = evaluation.groups["generated"].score.mean
    assert mean == pytest.approx(np.mean(found), rel=1e-5)


def matches(key, recipe):
    return any(
        key == pattern or (pattern.endswith("*") and key.startswith(pattern[:-1]))
        for pattern in recipe.parameters.select
    )
