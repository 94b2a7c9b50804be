"""The commands: what they print, what they write, and how they refuse."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from paramdiff.methods.group_names import role_of
from paramdiff.networks.small import DigitsNetwork
from paramdiff.recipe.loading import SHIPPED, shipped_recipes
from paramdiff.recipe.schema import load_recipe
from paramdiff.report.tables import ALWAYS
from paramdiff.storage import read_json, read_metadata, read_tensors, write_text

from .help import HELP_FILE, commands, rendered

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def as_options(overrides):
    return [part for override in overrides for part in ("--set", override)]


# What it says


@pytest.mark.skipif(
    f"typer=={typer.__version__}\n" not in CONSTRAINTS.read_text(encoding="utf-8"),
    reason="every version of typer lays its help out in its own way",
)
def test_help_is_the_documented_one():
    """After a change of the command line, ``python -m tests.cli.help`` writes the file again."""
    assert HELP_FILE.read_text(encoding="utf-8") == rendered()


def test_every_verb_of_the_issue_is_there():
    named = {"quickstart", "run", "sweep", "check", "inspect", "fit", "generate", "compare"}
    named |= {"push", "report", "recipes", "make", "methods"}
    assert named <= set(commands())
    text = HELP_FILE.read_text(encoding="utf-8")
    for command in ("quickstart", "run", "sweep", "generate", "compare"):
        section = text.split(f"Usage: paramdiff {command} ")[1].split("Usage: ")[0]
        assert "--device" in section, command
    assert "--reuse" in text and "--set" in text


def test_help_loads_nothing_heavy():
    code = (
        "import paramdiff.cli, paramdiff, sys; "
        "heavy = {'torch', 'diffusers', 'sklearn', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_recipes_are_listed(call):
    status, stdout, stderr = call("recipes")
    assert (status, stderr) == (0, "")
    firsts = [line.split()[0] for line in stdout.splitlines() if line.strip()]
    names = list(shipped_recipes())
    assert sorted(first for first in firsts if first in names) == names
    assert load_recipe("quickstart").description in stdout
    row = next(line for line in stdout.splitlines() if line.startswith("ablation/noise_x10 "))
    other = next(line for line in stdout.splitlines() if line.startswith("other/fcos "))
    assert other.split()[1:3] == ["1,024", "-"]
    assert row.split()[1] == "2,048" and row.rstrip().endswith("both noises times 10")
    after = stdout.partition(row)[2].splitlines()[1:3]
    assert [line.strip() for line in after] == [
        "codec.input_noise: 0.01",
        "codec.latent_noise: 1.0",
    ]


def test_the_list_needs_nothing_heavy():
    code = (
        "import sys; from paramdiff.recipe.loading import list_recipes; list_recipes(); "
        "heavy = {'torch', 'diffusers', 'timm', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_check_prints_sizes_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, stdout, stderr = call("check", "quickstart")
    assert (status, stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    network = DigitsNetwork().state_dict().values()
    size = sum(tensor.numel() for tensor in network if tensor.is_floating_point())
    assert f"# network parameters: {size:,}\n" in stdout
    assert "# generated parameters: 192 in 4 tensors\n" in stdout
    assert "# vector length: 192\n" in stdout
    resolved = tmp_path / "resolved.yaml"
    write_text(resolved, stdout)  # sizes are comments: what is printed is a recipe
    assert load_recipe(resolved) == load_recipe("quickstart")


def test_check_counts_the_papers_networks(call):
    """The convolutions' 805,472 + 834,241, and what depends on length 192."""
    status, stdout, _ = call("check", "quickstart", "--set", "preset=paper")
    assert status == 0
    flat, latent = 192, 128
    linear = flat * latent + latent + 2 * (latent * latent + latent) + latent * flat + flat
    assert f"# codec parameters: {805_472 + 834_241 + linear:,}\n" in stdout
    assert "# denoiser parameters: 2,462,977\n" in stdout


# What it writes


def test_generate_writes_complete_checkpoints(call, tiny_run, tmp_path):
    out = tmp_path / "new"
    status, stdout, stderr = call(
        "generate",
        tiny_run / "pipeline",
        "--num-samples",
        3,
        "--seed",
        2,
        "--out",
        out,
        "--device",
        "cpu",
    )
    assert (status, stderr) == (0, "")
    assert str(out) in stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new"]
    paths = sorted(out.glob("*.safetensors"))
    assert [path.name for path in paths] == [f"{n:04d}.safetensors" for n in range(3)]
    assert [read_metadata(path)["seed"] for path in paths] == [2, 3, 4]
    for path, seed in zip(paths, (2, 3, 4), strict=True):
        state_dict = read_tensors(path)
        DigitsNetwork().load_state_dict(state_dict, strict=True)
        same = read_tensors(tiny_run / "generated" / f"{seed:04d}.safetensors")
        for name, tensor in state_dict.items():
            torch.testing.assert_close(tensor, same[name], atol=1e-4, rtol=0)


def test_generate_refuses_what_cannot_be_requested_sections(refused, tiny_run, tmp_path):
    base = ("generate", tiny_run / "pipeline", "--out", tmp_path / "out")
    told = {
        ("--condition", "score=0.8"): "condition score: the pipeline was trained without",
        ("--condition", "score"): "--condition: expected NAME=VALUE, found 'score'",
        ("--condition", "step=1", "--condition", "step=2"): "--condition: expected step once",
        ("--guidance-scale", 2): "guidance_scale: 2 has no effect without a condition",
        ("--energy-scale", 2): "--energy-scale: expected --energy beside it, found 2 alone",
        ("--recipe", "quickstart"): "belong together; found no energy with --recipe",
        ("--energy", "loss"): "belong together; found loss without --recipe",
    }
    for options, message in told.items():
        assert message in refused(*base, *options)


def test_generate_heeds_its_options(call, tiny_run, tmp_path):
    base = ("generate", tiny_run / "pipeline", "--num-samples", 2)
    assert call(*base, "--out", tmp_path / "mean", "--temperature", 0)[0] == 0
    assert call(*base, "--out", tmp_path / "short", "--num-inference-steps", 5)[0] == 0
    mean = [
        read_tensors(path)["norm3.weight"]
        for path in sorted((tmp_path / "mean").glob("*.safetensors"))
    ]
    assert torch.equal(mean[0], mean[1])
    short = read_tensors(tmp_path / "short" / "0000.safetensors")["norm3.weight"]
    usual = read_tensors(tiny_run / "generated" / "0000.safetensors")["norm3.weight"]
    assert not torch.allclose(short, usual)


@pytest.mark.usefixtures("without_figures")
def test_run_and_from_print_the_table_and_the_reports_path(call, tiny, tiny_run, tmp_path):
    options = as_options([*tiny, "generation.num_samples=5"])
    out = tmp_path / "run"
    arguments = ("run", "quickstart", "--out", out, "--reuse", tiny_run, "--device", "cpu")
    status, stdout, stderr = call(*arguments, *options)
    assert (status, stderr) == (0, "")
    evaluation = read_json(out / "evaluation.json")
    assert evaluation["groups"]["generated"]["n"] == 5
    rows = [line.strip("│┃ ").split() for line in stdout.splitlines() if line.startswith("│")]
    deciding = {one["reference"] for one in evaluation["frontier"].values()}
    assert deciding and deciding <= evaluation["groups"].keys()
    shown = [
        name
        for name in evaluation["groups"]
        if role_of(name) != "baseline" or name in (*ALWAYS, *deciding)
    ]
    assert sorted(row[0] for row in rows) == sorted(shown)
    assert evaluation["verdict"]["headline"].split(".")[0] in " ".join(stdout.split())
    assert stdout.rstrip().endswith(f"Report: {out / 'report.html'}")
    assert (out / "report.html").is_file()


def test_report_draws_the_same_bytes(call, tiny_run, tmp_path):
    for name in ("evaluation.json", "arrays.safetensors"):
        shutil.copy(tiny_run / name, tmp_path / name)
    status, stdout, stderr = call("report", tmp_path)
    assert (status, stderr) == (0, "")
    assert stdout.strip() == f"Report: {tmp_path / 'report.html'}"
    assert (tmp_path / "report.html").read_bytes() == (tiny_run / "report.html").read_bytes()


# How it refuses


def test_bad_recipes_are_refused(refused, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "'quickstart'" in refused("run", "quikstart", *out)
    assert "'quickstart'" in refused("check", "quikstart")
    assert refused("run", "quickstart", *out, "--set", "codec.explaned_variance=1") == (
        "quickstart: codec.explaned_variance: unknown key; "
        "the nearest valid one is 'explained_variance'"
    )
    assert "generation.num_samples" in refused(
        "quickstart", *out, "--set", "generation.num_samples=some"
    )
    assert "--set" in refused("check", "quickstart", "--set", "seed")
    assert "'nope'" in refused("check", "quickstart", "--set", "parameters.select=[nope]")
    assert "'nope'" in refused("run", "quickstart", *out, "--set", "parameters.select=[nope]")
    assert "task.name" in refused("run", "quickstart", *out, "--set", "task.name=digit")


def test_unknown_devices_are_refused(refused, tiny_run, tmp_path):
    out = ("--out", tmp_path / "out", "--device", "abacus")
    told = "--device: expected auto, cpu, cuda or mps, found 'abacus'"
    assert refused("quickstart", *out) == told
    assert refused("run", "quickstart", *out) == told
    assert refused("generate", tiny_run / "pipeline", *out) == told
    folders = (tiny_run / "generated", "--originals", tiny_run / "zoo")
    assert refused("compare", *folders, "--task", "digits", *out) == told


def test_a_folder_of_another_recipe_is_refused(refused, tiny, tiny_run):
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")}
    options = as_options([*tiny, "seed=7"])
    assert refused("run", "quickstart", "--out", tiny_run, "--device", "cpu", *options) == (
        f"{tiny_run}: this folder belongs to another recipe: seed: 0 there, 7 here"
    )
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")} == before


def test_bad_pipelines_are_refused(refused, tiny_run, tmp_path):
    out = ("--out", tmp_path / "new")
    assert str(tmp_path / "none") in refused("generate", tmp_path / "none", *out)
    assert "model_index.json" in refused("generate", tiny_run / "zoo", *out)
    assert "is neither a pipeline's folder nor a run's" in refused("generate", "src/nope", *out)
    copied = tmp_path / "pipeline"
    shutil.copytree(tiny_run / "pipeline", copied)
    (copied / "evil.py").write_text("")
    assert "evil.py" in refused("generate", copied, *out)
    (copied / "evil.py").unlink()
    weights = copied / "denoiser" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert "denoiser" in refused("generate", copied, *out)


def test_existing_outputs_are_refused(refused, tiny_run, tmp_path):
    (tmp_path / "mine").mkdir()
    told = refused("generate", tiny_run / "pipeline", "--out", tmp_path / "mine")
    assert told == f"{tmp_path / 'mine'}: this exists already; name a new folder"
    folders = (tiny_run / "generated", "--originals", tiny_run / "zoo")
    told = refused("compare", *folders, "--task", "digits", "--out", tmp_path / "mine")
    assert told == f"{tmp_path / 'mine'}: this exists already; name a new folder"


def test_bad_folders_are_refused(refused, tiny_run, tmp_path):
    out = ("--task", "digits", "--out", tmp_path / "out")
    zoo, generated = tiny_run / "zoo", tiny_run / "generated"

    def judged(what, originals, *options):
        return refused("compare", what, "--originals", originals, *out, *options)

    assert str(tmp_path / "none") in judged(generated, tmp_path / "none")
    assert str(tmp_path / "none") in judged(tmp_path / "none", zoo)
    told = judged(generated, zoo, "--task", "digit")
    assert "'digits'" in told
    for option in (("--select", "fc.*"), ("--num-held-out", "3"), ("--base-checkpoint", zoo)):
        told = judged(generated, zoo, *option)
        assert told.startswith(f"{option[0]}: ") and "--originals is a zoo" in told
    assert "evaluation.json" in refused("report", tmp_path / "none")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.pt").write_bytes(b"PK\x03\x04")
    assert "a.pt" in judged(broken, zoo)
    assert "a.pt" in judged(generated, broken)
    assert "conv1.weight" in judged(zoo / "checkpoints", generated)
    told = judged(generated, generated, "--select", "norm2.*")
    assert "unselected tensors differ" in told and "norm3.weight" in told
    told = refused("run", "quickstart", "--out", tmp_path / "run", "--reuse", tmp_path / "none")
    assert re.search(r"none: this is no run's folder: .* recipe\.yaml", told)


@pytest.mark.usefixtures("without_figures")
def test_a_sweep_names_what_failed(call, tiny, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(SHIPPED.joinpath("quickstart.yaml").read_text().replace("norm[23]", "nope"))
    out = tmp_path / "out"
    arguments = ("sweep", bad, "quickstart", "--out", out, "--device", "cpu", *as_options(tiny))
    status, stdout, stderr = call(*arguments, "--set", "name=one")
    assert status == 1
    assert len(stderr.splitlines()) == 1 and stderr.startswith("failed: one: selection pattern")
    assert f"Comparison: {out / 'sweep.html'}" in stdout and "failed" in stdout
    assert (out / "quickstart" / "report.html").is_file() and not (out / "one").exists()


def test_bad_sweeps_are_refused(refused, tmp_path):
    out = ("--out", tmp_path / "out")
    assert refused("sweep", "quickstart", "nope/*", *out).startswith("nope/*: no shipped recipe")
    assert "abacus" in refused("sweep", "quickstart", *out, "--device", "abacus")
    assert "--vary" in refused("sweep", "quickstart", *out, "--vary", "seed")


def test_inspect_tells_what_checkpoints_are(call, refused, tiny_run, tmp_path):
    status, stdout, stderr = call("inspect", tiny_run / "zoo" / "checkpoints")
    assert (status, stderr) == (0, "")
    assert "norm3.weight" in stdout and "Would be generated: 192 parameters" in stdout
    assert "few to learn a distribution from" in stdout
    assert "there is no such checkpoint or folder" in refused("inspect", tmp_path / "none")


def test_fit_needs_no_recipe(call, refused, tiny_run, tmp_path):
    quick = as_options(["diffusion.training.num_steps=20", "generation.num_inference_steps=10"])
    checkpoints = tiny_run / "generated"
    status, stdout, stderr = call(
        "fit", checkpoints, "--out", tmp_path / "mine", "--num-samples", 2, "--device", "cpu",
        "--task", "digits", *quick,
    )  # fmt: skip
    assert (status, stderr) == (0, ""), stderr
    assert "Would be generated" in stdout and "Held out" in stdout
    assert "of the checkpoints it learned from answer" in stdout
    assert len(list((tmp_path / "mine" / "generated").glob("*.safetensors"))) == 2
    status, _, stderr = call(
        "generate", tmp_path / "mine" / "pipeline", "--out", tmp_path / "parts",
        "--num-samples", 1, "--selected-only", "--device", "cpu",
    )  # fmt: skip
    assert (status, stderr) == (0, "")
    (path,) = (tmp_path / "parts").glob("*.safetensors")
    assert set(read_tensors(path)) == {
        f"norm{n}.{part}" for n in "23" for part in ("weight", "bias")
    }
    asked = ("--task", "digits", "--score-fn", "some:function")
    told = refused("fit", checkpoints, "--out", tmp_path / "other", *asked)
    assert told == "expected one of --task, --data and --score-fn"
    told = refused("fit", checkpoints, "--out", tmp_path / "other", "--select", "conv1.*", *quick)
    assert "unselected tensors differ" in told


def test_push_copies_a_runs_pipeline(call, refused, tiny_run, tmp_path):
    status, stdout, stderr = call("push", tiny_run, tmp_path / "given")
    assert (status, stderr) == (0, "")
    assert stdout.replace("\n", "") == f"Pipeline: {tmp_path / 'given'}"
    assert (tmp_path / "given" / "README.md").is_file()
    assert "exists already; name a new folder" in refused("push", tiny_run, tmp_path / "given")
    assert "found neither" in refused("push", tiny_run / "zoo", tmp_path / "other")


def test_a_table_that_needs_no_run_is_drawn_and_drawn_again(call, refused, tmp_path):
    assert "the nearest is 'table" in refused("sweep", "table5", "--out", tmp_path / "none")
    assert "benchmarks.memory" in refused("sweep", "table13", "--out", tmp_path / "none")
    out = tmp_path / "sweep"
    status, stdout, _ = call("sweep", "table6", "--out", out, "--device", "cpu")
    page = (out / "sweep.html").read_bytes()
    assert status == 0 and "Comparison: " in stdout and b"80,714" in page
    (out / "sweep.html").unlink()
    status, stdout, _ = call("report", out)
    assert status == 0 and f"Comparison: {out}" in stdout
    assert (out / "sweep.html").read_bytes() == page


def test_the_list_of_recipes_names_the_papers_tables_and_figures(call):
    _, stdout, _ = call("recipes")
    assert re.search(r"^table3b +5  Scale of the noise on parameters", stdout, re.MULTILINE)
    assert re.search(r"^figure5c +5  Maximum similarity", stdout, re.MULTILINE)


def test_errors_of_the_system_are_one_line(refused, tiny_run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    told = refused("generate", tiny_run / "pipeline", "--out", tmp_path / "file" / "new")
    assert str(tmp_path / "file") in told
    told = refused("push", tiny_run, tmp_path / "file" / "new")
    assert str(tmp_path / "file") in told

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("paramdiff.commands.generate.write_generated", full)
    told = refused(
        "generate", tiny_run / "pipeline", "--num-samples", 1, "--out", tmp_path / "new"
    )
    assert told == "[Errno 28] No space left on device"
