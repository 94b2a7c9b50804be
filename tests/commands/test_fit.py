"""Somebody's checkpoints in, new ones of the same form out.

Those of the libraries are in ``test_checkpoints_page.py``.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paramdiff import memmap
from paramdiff.codecs import base as codec_base
from paramdiff.commands.fit import plan_fit
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.model_cards.provenance import Provenance, generation_settings
from paramdiff.parameters import normalization
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.runs.generated_folder import write_generated
from paramdiff.runs.run import make_networks
from paramdiff.runs.run_cards import add_scores
from paramdiff.storage import sha256_of

QUICK = (
    "diffusion.training.num_steps=20",
    "diffusion.denoiser.width=8",
    "generation.num_inference_steps=10",
)


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def drifting(folder, num=24, moved=("1.weight", "1.bias")):
    """A network whose normalization layer drifts."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    state = network().state_dict()
    for step in range(num):
        for name in moved:
            state[name] = state[name] + 0.1 * torch.randn(state[name].shape)
        state["1.num_batches_tracked"] = torch.tensor(step)
        torch.save({"epoch": step, "state_dict": state}, folder / f"step{step}.pt")
    return folder


def planned(folder, **options):
    options.setdefault("overrides", QUICK)
    options.setdefault("out", folder.parent / "mine")
    return plan_fit([str(folder)], num_samples=3, device="cpu", **options)


def fitted(folder, out, **options):
    plan = planned(folder, out=out, **options)
    return make_networks(plan.recipe, out, device="cpu")


def test_what_differs_is_generated_and_comes_out_as_it_came_in(tmp_path):
    made = fitted(drifting(tmp_path / "in"), tmp_path / "out")
    assert made.zoo.layout.names == ("1.weight", "1.bias")
    assert (len(made.zoo.originals), len(made.zoo.held_out)) == (22, 2)
    files = sorted((tmp_path / "out" / "generated").glob("*.pt"))
    assert [path.name for path in files] == ["0000.pt", "0001.pt", "0002.pt"]
    first = torch.load(tmp_path / "in" / "step0.pt")["state_dict"]
    for number, path in enumerate(files):
        content = torch.load(path, weights_only=True)
        assert list(content) == ["state_dict"]
        network().load_state_dict(content["state_dict"], strict=True)
        assert content["state_dict"]["2.weight"].equal(first["2.weight"])
        found = made.zoo.layout.flatten(content["state_dict"])
        assert found.equal(made.seed_runs[0].generated[number])
    assert not list((tmp_path / "out").rglob("evaluation.json"))


def test_files_in_place_of_memory_change_nothing(tmp_path, monkeypatch):
    folder = drifting(tmp_path / "in", moved=("0.weight", "1.weight", "2.weight"))
    inside = fitted(folder, tmp_path / "inside")
    monkeypatch.setattr(memmap, "MEMORY_BUDGET", 0)
    monkeypatch.setattr(normalization, "_BLOCK_VALUES", 7)
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 50)
    monkeypatch.setattr(codec_base, "MAX_DECODED_VALUES", 1)
    outside = fitted(folder, tmp_path / "outside")
    assert outside.zoo.originals.equal(inside.zoo.originals)
    for one, other in zip(outside.seed_runs, inside.seed_runs, strict=True):
        torch.testing.assert_close(one.generated, other.generated, rtol=1e-6, atol=1e-5)
    left = {path.name for path in (tmp_path / "outside").rglob("*")}
    assert left == {path.name for path in (tmp_path / "inside").rglob("*")}


def test_a_saved_pipeline_needs_nothing_else(tmp_path):
    fitted(drifting(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "in").rename(tmp_path / "gone")
    pipeline = ParameterDiffusionPipeline.from_pretrained(tmp_path / "out" / "pipeline")
    checkpoint_format, settings = (
        pipeline.parameter_space.checkpoint_format,
        generation_settings(pipeline, 2),
    )
    made_so = Provenance("mine", "digest", [7, 8], settings, checkpoint_format)
    write_generated(tmp_path / "more", pipeline([7, 8]), made_so)
    assert set(torch.load(tmp_path / "more" / "0001.pt")) == {"state_dict"}
    parts = replace(made_so, seeds=[7], selected_only=True)
    write_generated(tmp_path / "parts", pipeline([7]), parts)
    content = torch.load(tmp_path / "parts" / "0000.pt")["state_dict"]
    assert list(content) == ["1.weight", "1.bias"]


def test_patterns_match_parameters_and_buffers_only_when_asked(tmp_path):
    folder = drifting(tmp_path / "in")
    plan = planned(folder, select=["1.*"])
    assert plan.recipe.parameters.select == ("1.weight", "1.bias")
    assert plan.facts["Generated"] == "8 parameters in 2 tensors"
    wider = planned(folder, select=["1.*"], include_buffers=True).recipe.parameters.select
    assert wider == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    with pytest.raises(UserError, match="running_mean"):
        planned(folder, select=["1.running_mean"])


def test_what_differs_beside_the_selection_stops_before_anything_is_written(tmp_path):
    folder = drifting(tmp_path / "in", moved=("1.weight", "1.bias", "2.weight"))
    with pytest.raises(UserError, match=r"unselected tensors differ .*\(2\.weight\)"):
        fitted(folder, tmp_path / "out", select=["1.*"])
    assert not (tmp_path / "out").exists()
    torch.save(network().state_dict(), tmp_path / "base.pt")
    fitted(folder, tmp_path / "out", select=["1.*"], base_checkpoint=tmp_path / "base.pt")
    # what comes in the base's form has no wrapper
    assert "1.weight" in torch.load(tmp_path / "out" / "generated" / "0000.pt")


def test_names_with_glob_characters_are_themselves(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        state = {"a[0].w": torch.rand(3), "a0.w": torch.ones(3)}
        torch.save(state, tmp_path / "in" / f"{number}.pt")
    assert fitted(tmp_path / "in", tmp_path / "out").zoo.layout.names == ("a[0].w",)


def test_equal_checkpoints_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        torch.save({"a": torch.ones(3)}, tmp_path / "in" / f"{number}.pt")
    with pytest.raises(UserError, match="equal: nothing to learn from"):
        planned(tmp_path / "in")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_out_as_it_came_in(tmp_path, dtype):
    (tmp_path / "in").mkdir()
    for number in range(6):
        torch.save({"a": torch.rand(9).to(dtype)}, tmp_path / "in" / f"{number}.pth")
    fitted(tmp_path / "in", tmp_path / "out")
    found = torch.load(tmp_path / "out" / "generated" / "0002.pth")["a"]
    assert found.dtype == dtype and torch.isfinite(found).all()


def test_scores_join_the_cards_of_a_run_that_could_not_score_itself(tmp_path, tiny_run):
    fitted(drifting(tmp_path / "in"), tmp_path / "out")
    cards = [tmp_path / "out" / part / "README.md" for part in ("pipeline", "generated")]
    assert all("Not evaluated" in card.read_text() for card in cards)
    evaluation = read_evaluation(tiny_run / "evaluation.json")
    add_scores(tmp_path / "in", evaluation)
    add_scores(tmp_path / "out" / "pipeline", evaluation)
    assert all("Not evaluated" in card.read_text() for card in cards)
    digest = sha256_of(tmp_path / "out" / "pipeline")
    add_scores(tmp_path / "out" / "generated", evaluation)
    assert all(evaluation.verdict.headline in card.read_text() for card in cards)
    assert sha256_of(tmp_path / "out" / "pipeline") == digest
    before = (tiny_run / "generated" / "README.md").stat().st_mtime_ns
    add_scores(tiny_run / "generated", evaluation)
    assert (tiny_run / "generated" / "README.md").stat().st_mtime_ns == before


def test_a_run_that_takes_no_scores_keeps_the_evaluation(tmp_path, tiny_run):
    fitted(drifting(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "out" / "pipeline" / "model_index.json").unlink()
    evaluation = read_evaluation(tiny_run / "evaluation.json")
    with pytest.warns(UserWarning, match=r"cards stay without scores: .*model_index"):
        add_scores(tmp_path / "out" / "generated", evaluation)


def test_one_checkpoint_is_refused_as_one(tmp_path):
    folder = drifting(tmp_path / "a", num=1)
    torch.save({"last_epoch": 1}, folder / "scheduler.pt")
    with pytest.raises(UserError) as caught:
        planned(folder)
    told = str(caught.value)
    assert told.startswith(f"{folder / 'step0.pt'}: expected several checkpoints, found this one")
    assert "scheduler.pt (training state)" in told and "equal" not in told


@pytest.mark.parametrize("patterns", [(), ("1.weight", "1.bias")])
def test_what_lies_beside_the_checkpoints_is_told(tmp_path, patterns):
    folder = drifting(tmp_path / "a", num=4)
    torch.save({"last_epoch": 1}, folder / "scheduler_0.pt")
    plan = planned(folder, select=patterns)
    assert plan.facts["Skipped"] == "scheduler_0.pt (training state)"
