"""Checkpoints of other libraries in, checkpoints that load into those libraries out."""

import pytest
import torch
from torch import nn

from paramdiff import mapped
from paramdiff.checkpoints.stored import StoredCheckpoint
from paramdiff.codec import linear, training
from paramdiff.errors import UserError
from paramdiff.experiment import stages
from paramdiff.experiment.fit import plan_fit
from paramdiff.experiment.generated import write_generated
from paramdiff.experiment.run import make_networks
from paramdiff.parameters import normalisation
from paramdiff.pipeline import ParameterDiffusionPipeline

QUICK = (
    "diffusion.training.num_steps=20",
    "diffusion.denoiser.width=8",
    "generation.num_steps=10",
)


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def drifting(folder, num=24, moved=("1.weight", "1.bias")):
    """A network whose normalisation layer drifts."""
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
    return plan_fit([str(folder)], name="mine", num_samples=3, **options)


def fitted(folder, out, **options):
    plan = planned(folder, **options)
    made = make_networks(plan.recipe, out, device="cpu")
    made.finish()
    return made


def test_what_differs_is_generated_and_comes_out_as_it_came_in(tmp_path):
    made = fitted(drifting(tmp_path / "in"), tmp_path / "out")
    assert made.zoo.layout.names == ("1.weight", "1.bias")
    assert (len(made.zoo.originals), len(made.zoo.held_out)) == (22, 2)
    files = sorted((tmp_path / "out" / "generated").iterdir())
    assert [path.name for path in files] == ["0000.pt", "0001.pt", "0002.pt"]
    first = torch.load(tmp_path / "in" / "step0.pt")["state_dict"]
    for number, path in enumerate(files):
        content = torch.load(path, weights_only=True)
        assert list(content) == ["state_dict"]
        network().load_state_dict(content["state_dict"], strict=True)
        assert content["state_dict"]["2.weight"].equal(first["2.weight"])
        found = made.zoo.layout.flatten(content["state_dict"])
        assert found.equal(made.generators[0].generated[number])
    assert not list((tmp_path / "out").rglob("evaluation.json"))


def test_files_in_place_of_memory_change_nothing(tmp_path, monkeypatch):
    folder = drifting(tmp_path / "in", moved=("0.weight", "1.weight", "2.weight"))
    inside = fitted(folder, tmp_path / "inside")
    monkeypatch.setattr(mapped, "MEMORY_BUDGET", 0)
    monkeypatch.setattr(normalisation, "_BLOCK_VALUES", 7)
    monkeypatch.setattr(linear, "_BLOCK_VALUES", 50)
    monkeypatch.setattr(stages, "NORMALISED_VALUES", 1)
    monkeypatch.setattr(training, "MAX_DECODED_VALUES", 1)
    outside = fitted(folder, tmp_path / "outside")
    assert outside.zoo.originals.equal(inside.zoo.originals)
    for one, other in zip(outside.generators, inside.generators, strict=True):
        torch.testing.assert_close(one.generated, other.generated, rtol=0, atol=1e-5)
    left = {path.name for path in (tmp_path / "outside").rglob("*")}
    assert left == {path.name for path in (tmp_path / "inside").rglob("*")}


def test_a_saved_pipeline_needs_nothing_else(tmp_path):
    fitted(drifting(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "in").rename(tmp_path / "gone")
    pipeline = ParameterDiffusionPipeline.from_pretrained(tmp_path / "out" / "pipeline")
    write_generated(tmp_path / "more", pipeline([7, 8]), "digest")
    assert set(torch.load(tmp_path / "more" / "0001.pt")) == {"state_dict"}
    write_generated(tmp_path / "parts", pipeline([7]), "digest", selected_only=True)
    content = torch.load(tmp_path / "parts" / "0000.pt")["state_dict"]
    assert list(content) == ["1.weight", "1.bias"]


def test_patterns_match_parameters_and_buffers_only_when_asked(tmp_path):
    folder = drifting(tmp_path / "in")
    plan = planned(folder, patterns=["1.*"])
    assert plan.recipe.parameters.select == ("1.weight", "1.bias")
    assert plan.facts["Generated"] == "8 parameters in 2 tensors"
    wider = planned(folder, patterns=["1.*"], with_buffers=True).recipe.parameters.select
    assert wider == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    with pytest.raises(UserError, match="running_mean"):
        planned(folder, patterns=["1.running_mean"])


def test_what_differs_beside_the_selection_stops_before_anything_is_written(tmp_path):
    folder = drifting(tmp_path / "in", moved=("1.weight", "1.bias", "2.weight"))
    with pytest.raises(UserError, match=r"not selected differ .*\(2\.weight\)"):
        fitted(folder, tmp_path / "out", patterns=["1.*"])
    assert not (tmp_path / "out").exists()
    torch.save(network().state_dict(), tmp_path / "base.pt")
    fitted(folder, tmp_path / "out", patterns=["1.*"], base=tmp_path / "base.pt")
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


# ---- the libraries


def test_layer_norms_of_a_text_classifier(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    classifier = BertForSequenceClassification(config)
    for step in range(6):
        with torch.no_grad():
            for name, parameter in classifier.named_parameters():
                if "LayerNorm" in name:
                    parameter += 0.1 * torch.randn_like(parameter)
        classifier.save_pretrained(tmp_path / "in" / f"checkpoint-{step}", max_shard_size="10KB")
    made = fitted(tmp_path / "in", tmp_path / "out")
    assert made.zoo.layout.num_parameters == 6 * 16
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "out" / "generated" / "0001")
    vector = made.zoo.layout.flatten(loaded.state_dict())
    assert vector.equal(made.generators[0].generated[1])
    assert loaded.config.hidden_size == 16


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # between the two libraries
def test_adapters(tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    base = GPT2LMHeadModel(config)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    for step in range(5):
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora" in name:
                    parameter += 0.1 * torch.randn_like(parameter)
        adapted.save_pretrained(tmp_path / "in" / str(step))
    made = fitted(tmp_path / "in", tmp_path / "out")
    assert all("lora" in name for name in made.zoo.layout.names)
    folder = tmp_path / "out" / "generated" / "0000"
    loaded = PeftModel.from_pretrained(GPT2LMHeadModel(config), folder)
    tensors, _ = StoredCheckpoint(folder, "0000").read()
    inside = [value for name, value in loaded.state_dict().items() if "lora" in name]
    assert [value.shape for value in inside] == [value.shape for value in tensors.values()]
    assert made.zoo.layout.flatten(tensors).equal(made.generators[0].generated[0])
