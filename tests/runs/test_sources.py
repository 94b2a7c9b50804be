"""Where a run takes its checkpoints from, and how many of them."""

import math
import shutil

import pytest
import torch

from paramdiff import load_recipe, run
from paramdiff.networks.small import DigitsNetwork
from paramdiff.storage import (
    read_json,
    read_tensors,
    sha256_of,
)
from tests.runs.inspecting import numbers_in, times_of


def test_a_single_checkpoint_warns_and_has_no_spread(tiny, tmp_path):
    overrides = [*tiny, "collection.num_checkpoints=1", "collection.num_held_out=0"]
    with pytest.warns(UserWarning, match="with a single checkpoint, only copies"):
        evaluation = run(load_recipe("quickstart", overrides), tmp_path / "run", device="cpu")
    content = read_json(tmp_path / "run" / "evaluation.json")
    assert all(math.isfinite(number) for number in numbers_in(content))
    assert {group.dispersion for group in evaluation.groups.values()} == {None}
    assert evaluation.groups["original"].n == 1 and evaluation.groups["generated"].n == 6


def test_one_of_many_checkpoints_has_no_spread(tiny_run, tiny, tmp_path):
    recipe = load_recipe("quickstart", [*tiny, "parameters.num_checkpoints=1"])
    with pytest.warns(UserWarning, match="with a single checkpoint, only copies"):
        evaluation = run(recipe, tmp_path / "run", device="cpu", reuse=tiny_run)
    content = read_json(tmp_path / "run" / "evaluation.json")
    assert all(math.isfinite(number) for number in numbers_in(content))
    assert {group.dispersion for group in evaluation.groups.values()} == {None}
    counts = {name: evaluation.groups[name].n for name in ("original", "held_out", "generated")}
    assert counts == {"original": 1, "held_out": 4, "generated": 6}


@pytest.mark.usefixtures("without_figures")
def test_the_first_checkpoints_of_a_shared_zoo(tiny_run, tiny, tmp_path):
    """The zoo is taken over whole; what is learned from it is not."""
    recipe = load_recipe("quickstart", [*tiny, "parameters.num_checkpoints=5"])
    evaluation = run(recipe, tmp_path / "run", device="cpu", reuse=tiny_run)
    assert sha256_of(tmp_path / "run" / "zoo") == sha256_of(tiny_run / "zoo")
    assert (evaluation.groups["original"].n, evaluation.groups["held_out"].n) == (5, 4)
    space = read_tensors(
        tmp_path / "run/pipeline/parameter_space/diffusion_pytorch_model.safetensors"
    )
    files = [tiny_run / f"zoo/checkpoints/{number:04d}.safetensors" for number in range(5)]
    mean = torch.stack([read_tensors(file)["norm2.weight"] for file in files]).mean(0)
    location = space["location"][: len(mean)].float()  # the default preset's: of each element
    torch.testing.assert_close(location, mean, atol=1e-6, rtol=1e-5)


def test_scores_lie_beside_the_index(tiny_run):
    """An independent forward pass of each checkpoint counts what is stored for it."""
    from paramdiff.tasks.digits import digits

    content = read_json(tiny_run / "zoo" / "scores.json")
    split = digits().validation
    base = read_tensors(tiny_run / "zoo" / "base.safetensors")
    assert content["num_validation"] == len(split) == 497
    files = [entry["file"] for entry in read_json(tiny_run / "zoo" / "index.json")["checkpoints"]]
    assert list(content["score"]) == files
    network = DigitsNetwork().eval()
    for file in files:
        network.load_state_dict({**base, **read_tensors(tiny_run / "zoo" / file)})
        with torch.no_grad():
            correct = (network(split.inputs).argmax(1) == split.labels).sum().item()
        assert content["score"][file] * 497 == pytest.approx(correct, abs=1.01)  # a tie at most


def test_a_zoo_without_scores_is_completed(tiny_run, tiny, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    before = times_of(out, "report.html", "log.jsonl")
    (out / "zoo" / "scores.json").unlink()
    seen = []
    run(
        load_recipe("quickstart", tiny),
        out,
        device="cpu",
        progress=lambda *work: seen.append(work),
    )
    assert seen == []
    after = times_of(out, "report.html", "log.jsonl")
    assert after.pop("zoo/scores.json") != before.pop("zoo/scores.json")
    assert after == before
    assert sha256_of(out / "zoo") == sha256_of(tiny_run / "zoo")


@pytest.mark.usefixtures("without_figures")
def test_a_folder_of_checkpoints_is_a_zoo(tiny_run, tiny, tmp_path):
    source = tmp_path / "checkpoints"
    shutil.copytree(tiny_run / "generated", source)
    overrides = [
        *(override for override in tiny if not override.startswith("collection")),
        "collection.kind=folder",
        f"collection.checkpoints={source}",
        "collection.num_held_out=2",
    ]
    evaluation = run(load_recipe("quickstart", overrides), tmp_path / "run", device="cpu")
    assert evaluation.groups["original"].n == 4 and evaluation.groups["held_out"].n == 2
    index = read_json(tmp_path / "run" / "zoo" / "index.json")
    sources = [entry["source"] for entry in index["checkpoints"]]
    assert sources == sorted(path.name for path in source.glob("*.safetensors"))
    # what was generated once is an original now, and scores the same
    old = read_tensors(tiny_run / "arrays.safetensors")["labels/generated"][:4]
    new = read_tensors(tmp_path / "run" / "arrays.safetensors")["labels/original"]
    assert (old == new).float().mean() > 0.998


@pytest.mark.usefixtures("without_figures")
def test_sub_folders_are_runs_and_one_is_held_out_where_asked(tiny_run, tiny, tmp_path):
    for number, path in enumerate(sorted((tiny_run / "generated").glob("*.safetensors"))):
        (tmp_path / "checkpoints" / f"run{number // 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "checkpoints" / f"run{number // 2}")
    overrides = [
        *(override for override in tiny if not override.startswith("collection")),
        "collection.kind=folder",
        f"collection.checkpoints={tmp_path / 'checkpoints'}",
    ]
    recipe = load_recipe("quickstart", [*overrides, "collection.num_held_out=2"])
    evaluation = run(recipe, tmp_path / "run", device="cpu")
    assert evaluation.groups["original"].n == 4 and evaluation.groups["held_out"].n == 2
    assert (evaluation.hold_out, evaluation.single_trajectory) == ("run", False)
    evaluation = run(load_recipe("quickstart", overrides), tmp_path / "unasked", device="cpu")
    assert evaluation.groups["original"].n == 6 and "held_out" not in evaluation.groups
    assert evaluation.hold_out == "none"
