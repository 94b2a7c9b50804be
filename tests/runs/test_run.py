"""A run leaves every artifact of the design, does no work twice, and takes over what fits."""

import math
import shutil
import subprocess
import sys

import pytest
import torch

from paramdiff import load_recipe, run
from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Evaluation
from paramdiff.networks.small import DigitsNetwork
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import to_yaml
from paramdiff.runs.stage_log import forget_peak_memory, peak_memory
from paramdiff.storage import (
    read_json,
    read_metadata,
    read_tensors,
    sha256_of,
    write_tensors,
)
from tests.runs.inspecting import files_of, log_of, numbers_in, times_of

GROUPS = {"original", "held_out", "generated", "reconstructed", "average@all", "gaussian@1.0"}


def test_every_artifact_is_there_and_nothing_else(tiny_run):
    found = files_of(tiny_run)
    pipeline = {
        "pipeline/model_index.json",
        "pipeline/scheduler/scheduler_config.json",
        "pipeline/parameter_space/base.safetensors",
        *(
            f"pipeline/{part}/{file}"
            for part in ("parameter_space", "codec", "denoiser")
            for file in ("config.json", "diffusion_pytorch_model.safetensors")
        ),
    }
    zoo = {"zoo/index.json", "zoo/base.safetensors", "zoo/scores.json"}
    zoo |= {f"zoo/checkpoints/{number:04d}.safetensors" for number in range(16)}
    generated = {f"generated/{number:04d}.safetensors" for number in range(6)}
    learned_from = {
        f"{one}/learned_from.json" for one in ("generated", "pipeline/parameter_space")
    }
    single = {"recipe.yaml", "evaluation.json", "arrays.safetensors", "report.html", "log.jsonl"}
    cards = {"pipeline/README.md", "generated/README.md"}
    assert set(found) == pipeline | zoo | generated | learned_from | cards | single
    assert not list(tiny_run.rglob(".partial*"))
    assert sorted(p.name for p in tiny_run.parent.iterdir() if p.name.startswith(".")) == []


def test_the_recipe_has_every_value(tiny_run, tiny):
    recipe = load_recipe("quickstart", tiny)
    assert (tiny_run / "recipe.yaml").read_text() == to_yaml(recipe)
    assert load_recipe(tiny_run / "recipe.yaml") == recipe


@pytest.mark.parametrize("which", ["tiny_run", "tiny_paper_run"])
def test_evaluation_validates_and_has_no_nan(request, which):
    folder = request.getfixturevalue(which)
    content = read_json(folder / "evaluation.json")
    evaluation = Evaluation.model_validate(content)
    assert content["schema"] == 3
    assert GROUPS <= set(content["groups"])
    assert all(math.isfinite(number) for number in numbers_in(content))
    assert "NaN" not in (folder / "evaluation.json").read_text()
    assert (evaluation.num_test, evaluation.num_validation) == (1000, 497)
    counts = {name: evaluation.groups[name].n for name in ("original", "held_out", "generated")}
    assert counts == {"original": 12, "held_out": 4, "generated": 6}
    assert (evaluation.hold_out, evaluation.single_trajectory) == ("tail", True)
    stages = ["zoo", "parameter space", "codec", "denoiser", "generation", "evaluation"]
    assert list(content["cost"]) == stages == list(log_of(folder))
    for cost in evaluation.cost.values():
        assert cost.seconds >= 0 and cost.peak_memory_mb > 10


def test_arrays_agree_with_the_numbers(tiny_paper_run):
    groups = read_json(tiny_paper_run / "evaluation.json")["groups"]
    arrays = read_tensors(tiny_paper_run / "arrays.safetensors")
    for name, group in groups.items():
        labels = arrays[f"labels/{name}"]
        assert labels.shape == (group["n"], 1000)
        accuracy = (labels == arrays["truth"]).double().mean(1)
        assert accuracy.mean().item() == pytest.approx(group["score"]["mean"], abs=1e-6)
    assert len(arrays["losses/codec"]) == 8 + 1
    assert len(arrays["losses/denoiser"]) == 20 + 1
    assert arrays["trajectory/score"].shape == (1, 11)
    assert arrays["trajectory/timestep"][-1] == 0


def test_the_evaluation_is_that_of_the_generated_files(tiny_run):
    """An independent forward pass of one stored checkpoint predicts the stored labels."""
    from paramdiff.tasks.digits import digits

    network = DigitsNetwork()
    network.load_state_dict(read_tensors(tiny_run / "generated" / "0002.safetensors"))
    with torch.no_grad():
        labels = network.eval()(digits().test.inputs).argmax(1)
    stored = read_tensors(tiny_run / "arrays.safetensors")["labels/generated"][2]
    assert (labels == stored).float().mean() > 0.998  # ties in the last bits


def test_generated_checkpoints_are_complete_and_know_their_origin(tiny_run):
    base = read_tensors(tiny_run / "zoo" / "base.safetensors")
    digest = sha256_of(tiny_run / "pipeline")
    pipeline = ParameterDiffusionPipeline.from_pretrained(tiny_run / "pipeline")
    again = pipeline(seeds=range(6))
    for seed in range(6):
        path = tiny_run / "generated" / f"{seed:04d}.safetensors"
        assert read_metadata(path) == {"seed": seed, "pipeline_sha256": digest}
        state_dict = read_tensors(path)
        DigitsNetwork().load_state_dict(state_dict, strict=True)
        for name, tensor in state_dict.items():
            assert torch.equal(tensor, again[seed][name])
            changed = not torch.equal(tensor, base[name])
            assert changed == name.startswith(("norm2", "norm3")) & name.endswith(("t", "bias"))


def test_running_again_does_nothing(tiny_run, tiny):
    before = times_of(tiny_run, "report.html")
    report = (tiny_run / "report.html").read_bytes()
    seen = []
    evaluation = run(
        load_recipe("quickstart", tiny),
        tiny_run,
        device="cpu",
        progress=lambda stage, done, total: seen.append(stage),
    )
    assert seen == []
    assert times_of(tiny_run, "report.html") == before
    assert (tiny_run / "report.html").read_bytes() == report
    assert evaluation == Evaluation.model_validate(read_json(tiny_run / "evaluation.json"))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("collection.fine_tuning.lr=0.1", "collection.fine_tuning.lr: 0.03 there, 0.1 here"),
        ("generation.temperature=0.5", "generation.temperature: 1.0 there, 0.5 here"),
        ("preset=paper", "preset: 'default' there, 'paper' here"),
    ],
)
def test_another_recipe_is_refused_with_the_first_difference(tiny_run, tiny, override, named):
    before = times_of(tiny_run)
    with pytest.raises(UserError) as caught:
        run(load_recipe("quickstart", [*tiny, override]), tiny_run, device="cpu")
    assert str(caught.value) == f"{tiny_run}: this folder belongs to another recipe: {named}"
    assert times_of(tiny_run) == before


def test_a_foreign_folder_or_file_is_refused(tmp_path, tiny):
    recipe = load_recipe("quickstart", tiny)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(
        UserError, match=r"mine: the folder is neither empty nor a run: it holds 'thesis\.tex'"
    ):
        run(recipe, tmp_path / "mine", device="cpu")
    assert files_of(tmp_path / "mine") == ["thesis.tex"]
    with pytest.raises(UserError, match=r"thesis\.tex: this is a file, not a folder"):
        run(recipe, tmp_path / "mine" / "thesis.tex", device="cpu")
    with pytest.raises(UserError, match=r"mine: this is no run's folder: .* recipe\.yaml"):
        run(recipe, tmp_path / "new", device="cpu", reuse=tmp_path / "mine")
    assert files_of(tmp_path) == ["mine/thesis.tex"] and not (tmp_path / "new").exists()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("override", "taken"),
    [
        ("generation.num_samples=5", ["zoo", "parameter space", "codec", "denoiser"]),
        ("codec.explained_variance=1.0", ["zoo", "parameter space"]),
    ],
)
def test_another_runs_matching_stages_are_taken_over(tiny_run, tiny, tmp_path, override, taken):
    before = times_of(tiny_run)
    out, worked = tmp_path / "new", []
    run(
        load_recipe("quickstart", [*tiny, override]),
        out,
        device="cpu",
        reuse=tiny_run,
        progress=lambda stage, done, total: worked.append(stage),
    )
    assert times_of(tiny_run) == before
    artifacts = {
        "zoo": "zoo",
        "parameter space": "pipeline/parameter_space",
        "codec": "pipeline/codec",
        "denoiser": "pipeline/denoiser",
        "generation": "generated",
    }
    for stage, artifact in artifacts.items():
        same = sha256_of(out / artifact) == sha256_of(tiny_run / artifact)
        assert same == (stage in taken), stage
        if stage in taken:  # a stage that ran again may take as long, to the millisecond
            assert log_of(out)[stage] == log_of(tiny_run)[stage], stage
    assert not {"pre-training", "collecting checkpoints"} & set(worked)
    assert ("training the denoiser" in worked) == ("denoiser" not in taken)
    assert {"generating networks", "evaluating"} <= set(worked)
    assert not list(out.rglob(".partial*"))


def test_bad_input_writes_nothing(tiny, tmp_path):
    out = tmp_path / "run"
    for overrides, named in (
        (["task.name=nope"], "task.name"),
        (
            ["collection.kind=folder", f"collection.checkpoints={tmp_path}/none"],
            f"{tmp_path}/none",
        ),
        (["parameters.select=[nope]"], "'nope'"),
        (["parameters.num_checkpoints=13"], "the zoo has 12 originals, fewer than 13"),
        (["collection.skip_steps_per_epoch=19"], "an epoch has 19 updates"),
        (["preset=paper", "codec.latent_dim=4096"], "codec.latent_dim"),
    ):
        kept = [o for o in tiny if not (o.startswith("collection") and "folder" in overrides[0])]
        with pytest.raises(UserError, match=named):
            run(load_recipe("quickstart", [*kept, *overrides]), out, device="cpu")
        assert not out.exists(), overrides
    with pytest.raises(UserError, match="--device"):
        run(load_recipe("quickstart", tiny), out, device="abacus")
    assert not out.exists()


def test_a_folder_that_cannot_become_a_zoo_leaves_nothing(tiny, tiny_run, tmp_path):
    source = tmp_path / "checkpoints"
    shutil.copytree(tiny_run / "generated", source)
    tensors = read_tensors(source / "0003.safetensors")
    tensors["norm2.weight"][1] = float("nan")
    write_tensors(source / "0003.safetensors", tensors)
    folder = [
        "collection={kind: folder}",
        f"collection.checkpoints={source}",
        *(one for one in tiny if not one.startswith("collection")),
    ]
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"0003.*norm2\.weight.*NaN"):
        run(load_recipe("quickstart", folder), out, device="cpu")
    assert not out.exists()
    (source / "0003.safetensors").unlink()
    for wanted, more in ((6, []), (4, ["collection.num_held_out=2"])):
        overrides = [*folder, *more, f"parameters.num_checkpoints={wanted}"]
        with pytest.raises(UserError, match=f"the zoo has {wanted - 1} originals"):
            run(load_recipe("quickstart", overrides), out, device="cpu")
        assert not out.exists()


def test_a_vae_alone_generates_from_its_prior(tiny_paper, tmp_path):
    """The paper's Table 8: no denoiser; latents from N(0, I), decoded by running statistics."""
    vae = [
        *(one for one in tiny_paper if not one.startswith("diffusion")),
        "codec.kl_weight=1.0",
        "codec.statistics=running",
        "diffusion=null",
    ]
    recipe = load_recipe("quickstart", vae)
    run(recipe, tmp_path / "run", device="cpu")
    generated = ParameterDiffusionPipeline.from_pretrained(tmp_path / "run" / "pipeline")
    vectors = generated(seeds=range(6)).vectors
    layout = generated.parameter_space.layout
    for seed, vector in enumerate(vectors):
        stored = read_tensors(tmp_path / "run" / "generated" / f"{seed:04d}.safetensors")
        assert torch.equal(layout.flatten(stored), vector)
    assert "denoiser" not in log_of(tmp_path / "run")
    facts = read_json(tmp_path / "run" / "evaluation.json")["facts"]
    assert facts["Denoiser"] == "none: latents are drawn from N(0, I)"
    assert "steps" not in facts["Generation"]
    arrays = read_tensors(tmp_path / "run" / "arrays.safetensors")
    assert not {"trajectory/score", "losses/denoiser"} & set(arrays)
    before = times_of(tmp_path / "run", "report.html")
    run(recipe, tmp_path / "run", device="cpu")
    assert times_of(tmp_path / "run", "report.html") == before


@pytest.mark.usefixtures("without_figures")
@pytest.mark.slow
def test_principal_components_alone_are_a_gaussian_of_the_originals(tiny, tiny_run, tmp_path):
    tiny = [one for one in tiny if not one.startswith("diffusion")]
    recipe = load_recipe("quickstart", [*tiny, "diffusion=null", "generation.num_samples=200"])
    run(recipe, tmp_path / "run", device="cpu", reuse=tiny_run)
    generated = read_json(tmp_path / "run" / "evaluation.json")["groups"]["generated"]
    assert generated["dispersion"] == pytest.approx(1, abs=0.15)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others cannot forget")
def test_a_stages_peak_memory_is_not_an_earlier_ones():
    large = torch.ones(1 << 27)  # 512 MB
    before = peak_memory()
    del large
    forget_peak_memory()
    assert peak_memory() < before - 400


def test_peak_memory_is_the_programs_own():
    """Not that of a larger program which started it."""
    large = torch.ones(1 << 28)  # 1 GiB, held while the other starts
    code = """
import psutil
from paramdiff.runs.stage_log import peak_memory
print(peak_memory(), psutil.Process().memory_info().rss / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, held = map(float, done.stdout.split())
    assert 50 < peak < held + large.nbytes / 2**20 / 2


@pytest.mark.usefixtures("without_figures")
def test_folders_and_recipes_as_text(tiny, tiny_run, tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text(to_yaml(load_recipe("quickstart", tiny)))
    run(str(recipe), str(tmp_path / "out"), device="cpu", reuse=str(tiny_run))
    found = sha256_of(tmp_path / "out" / "pipeline" / "denoiser")
    assert found == sha256_of(tiny_run / "pipeline" / "denoiser")
    loaded = ParameterDiffusionPipeline.from_pretrained(str(tmp_path / "out"))
    own = ParameterDiffusionPipeline.from_pretrained(tiny_run / "pipeline")
    assert torch.equal(loaded(seeds=[3]).vectors, own(seeds=[3]).vectors)
