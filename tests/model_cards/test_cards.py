"""Cards say what the artifacts beside them say, and change none of them."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from paramdiff.checkpoints.sources import find_runs
from paramdiff.commands.generate import generate
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.methods.group_names import label_of, role_of
from paramdiff.model_cards.card import checkpoints_on_card, data_on_card
from paramdiff.model_cards.provenance import inline_code
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import load_recipe
from paramdiff.report.tables import ALWAYS
from paramdiff.runs.run import make_networks
from paramdiff.storage import read_json, read_metadata, sha256_of


@pytest.fixture(scope="module")
def evaluation(tiny_run):
    return read_json(tiny_run / "evaluation.json")


def card(folder):
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize("folder", ["pipeline", "generated"])
def test_the_scores_are_the_evaluations(tiny_run, evaluation, folder):
    found = card(tiny_run / folder)
    (result,) = found.data.eval_results
    generated = evaluation["groups"]["generated"]["score"]["mean"]
    assert result.metric_value == pytest.approx(generated, abs=1e-6)
    assert (result.metric_type, result.dataset_split) == ("accuracy", "test")
    for sentence in (evaluation["verdict"]["headline"], *evaluation["verdict"]["sentences"]):
        assert sentence in found.text
    for warning in evaluation["verdict"]["warnings"]:
        assert f"Warning: {warning}" in found.text
    rows = [line for line in found.text.splitlines() if " to " in line and line.startswith("| ")]
    deciding = {one["reference"] for one in evaluation["frontier"].values()}
    assert deciding and deciding <= evaluation["groups"].keys()
    means = {
        label_of(name): f"{100 * group['score']['mean']:.2f}"
        for name, group in evaluation["groups"].items()
        if role_of(name) != "baseline" or name in (*ALWAYS, *deciding)
    }
    cells = [[cell.strip() for cell in row.split("|")] for row in rows if " ± " in row]
    assert {row[1]: row[3].split(" ± ")[0] for row in cells} == means
    assert len(cells) == len(means)


def test_a_pipelines_card_names_what_it_learned_from(tiny_run):
    found = card(tiny_run / "pipeline")
    entries = read_json(tiny_run / "zoo" / "index.json")["checkpoints"]
    hashes = [entry["sha256"] for entry in entries if not entry["held_out"]]
    own = found.data["paramdiff"]
    assert own["num_checkpoints"] == len(hashes) == 12
    assert own["checkpoints_sha256"] == hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    assert [line for line in hashes if f"`{line}`" in found.text] == hashes
    assert "12 checkpoints of one run, and 4 held out" in found.text
    assert found.data.library_name == "paramdiff" and "parameter-diffusion" in found.data.tags
    for name in ("norm2.weight", "norm3.bias", "Denoiser | mlp, 20 updates", "paramdiff generate"):
        assert name in found.text
    assert str(Path.home()) not in found.text and str(tiny_run) not in found.text


def test_a_card_changes_no_hash_and_no_network(tiny_run, tmp_path):
    folder = Path(shutil.copytree(tiny_run / "pipeline", tmp_path / "pipeline"))
    recorded = read_metadata(tiny_run / "generated" / "0000.safetensors")["pipeline_sha256"]
    assert card(tiny_run / "generated").data["paramdiff"]["pipeline_sha256"] == recorded
    for content in ("", "# Mine", None):
        if content is None:
            (folder / "README.md").unlink()
        else:
            (folder / "README.md").write_text(content)
        assert sha256_of(folder) == recorded
        assert checkpoints_on_card(folder) is None
        ParameterDiffusionPipeline.from_pretrained(folder)


def test_a_card_is_no_checkpoint(tiny_run):
    (run,) = find_runs([str(tiny_run / "generated")])
    assert [one.name for one in run] == [f"{number:04d}.safetensors" for number in range(6)]


def test_what_generate_writes_is_described(tiny_run, tmp_path):
    generate(
        str(tiny_run / "pipeline"),
        tmp_path / "new",
        num_samples=2,
        seed=5,
        temperature=0.5,
        num_inference_steps=5,
    )
    found = card(tmp_path / "new")
    own = found.data["paramdiff"]
    assert (own["num_networks"], own["first_seed"]) == (2, 5)
    assert own["pipeline_sha256"] == sha256_of(tiny_run / "pipeline")
    digest = card(tiny_run / "pipeline").data["paramdiff"]["checkpoints_sha256"]
    for told in (digest, "5 to 6", "5 steps", "| Temperature | 0.5 |", "Not evaluated"):
        assert told in found.text


def test_a_generator_without_task_data_says_so_and_one_without_a_card_does_not(tiny_run, tmp_path):
    assert data_on_card(tiny_run / "pipeline") == data_on_card(tiny_run / "generated") == NO_DATA
    folder = Path(shutil.copytree(tiny_run / "pipeline", tmp_path / "pipeline"))
    (folder / "README.md").unlink()
    generate(str(folder), tmp_path / "new", num_samples=1, seed=0, num_inference_steps=5)
    assert data_on_card(tmp_path / "new") is None
    assert "| Training data | unknown |" in card(tmp_path / "new").text


@pytest.mark.parametrize(
    ("count", "is_taken"), [(64, True), (0, False), (-3, False), (10**13, False)]
)
def test_an_impossible_number_of_images_on_a_card_is_not_taken(tmp_path, count, is_taken):
    used = {"kind": "labels", "split": "training", "images_seen": count}
    metadata = {"paramdiff": {"training_data": used}}
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(metadata)}\n---\n")
    assert data_on_card(tmp_path) == (DataUse(**used) if is_taken else None)


def test_before_an_evaluation_the_cards_say_so(tiny_run, tiny, tmp_path):
    """The run of another seed of the networks, up to its networks."""
    recipe = load_recipe("quickstart", [*tiny, "generation.seed=50", "generation.num_samples=2"])
    made = make_networks(recipe, tmp_path / "run", device="cpu", reuse=tiny_run)
    for folder in ("pipeline", "generated"):
        found = card(tmp_path / "run" / folder)
        assert "Not evaluated" in found.text and found.data.eval_results is None
    assert "50 to 51" in card(tmp_path / "run" / "generated").text
    assert len(made.seed_runs[0].generated) == 2


@pytest.mark.parametrize("name", ["a`b", "a|b", "<b>", "a\nb", "``", "[x](http://y)"])
def test_names_from_others_cannot_leave_their_cell(name):
    told = inline_code(name)
    assert told[0] == told[-1] == "`" and "`" not in told[1:-1]
    assert "\n" not in told and "|" not in told.replace("\\|", "")
