"""Killed at any moment, the same command completes a run with the same result."""

import os
import signal
import subprocess
import sys
import time

import pytest

from paramdiff import load_recipe, run
from paramdiff.storage import read_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_figures")]

# State is saved after every update, and the process kills itself when a stage has come so far:
# a real SIGKILL, at the same place in every run.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from paramdiff import training_loop, load_recipe, run
torch.set_num_threads(1)
training_loop.SECONDS_BETWEEN_SAVES = 0.0
out, stage, step, *overrides = sys.argv[1:]

def progress(name, done, total):
    if name == stage and done >= int(step):
        os.kill(os.getpid(), signal.SIGKILL)

run(load_recipe("quickstart", overrides), Path(out), device="cpu", progress=progress)
"""

KILLED_WRITING = """
from paramdiff.runs import generated_folder
write, written = generated_folder.write_tensors, []

def killing(path, *given, **how):
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    write(path, *given, **how)

generated_folder.write_tensors = killing
"""

COMMAND = """
from paramdiff import training_loop
from paramdiff.cli import main
training_loop.SECONDS_BETWEEN_SAVES = 0.0
main()
"""

OUT_OF_MEMORY = """
import torch
from paramdiff import training_loop
from paramdiff.cli import main
from paramdiff.diffusion import training
training_loop.SECONDS_BETWEEN_SAVES = 0.0
torch.set_num_threads(1)
loss, calls = training.denoising_loss, []

def greedy(*arguments):
    calls.append(torch.empty(2**50 if len(calls) == 8 else 1))
    return loss(*arguments)

training.denoising_loss = greedy
main()
"""

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

STAGES = {
    "pre-training": (3, ".partial-state/zoo/pretraining-0.pt"),
    "collecting checkpoints": (9, ".partial-state/zoo/run-0.pt"),
    "training the codec": (5, ".partial-state/codec.pt"),
    "training the denoiser": (1, "pipeline/codec/config.json"),
    "training the denoiser, later": (13, ".partial-state/denoiser.pt"),
    "generating networks": (5, "pipeline/model_index.json"),
    "evaluating": (30, "generated/0005.safetensors"),
}
"""Stage to the step at which it is killed, and a file that is there by then."""


def results_of(folder):
    """Everything but times: the evaluation without costs, and the bytes of all tensors."""
    evaluation = read_json(folder / "evaluation.json")
    del evaluation["cost"]
    paths = [folder / "arrays.safetensors", folder / "recipe.yaml"]
    for part in ("zoo", "pipeline", "generated"):
        paths += sorted(path for path in (folder / part).rglob("*") if path.is_file())
    return {"evaluation": evaluation} | {
        str(path.relative_to(folder)): path.read_bytes() for path in paths
    }


def assert_same_result(one, other):
    mine, theirs = results_of(one), results_of(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []
    assert (one / "report.html").is_file()
    assert not list(one.rglob(".partial*"))


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_each_stage(tmp_path, tiny_paper, tiny_paper_run, stage):
    out, (step, present) = tmp_path / "run", STAGES[stage]
    arguments = [str(out), stage.split(",")[0], str(step), *tiny_paper]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], capture_output=True, env=ONE_THREAD
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (out / present).is_file()
    assert not (out / "evaluation.json").exists()
    seen = []
    run(
        load_recipe("quickstart", tiny_paper),
        out,
        device="cpu",
        progress=lambda name, done, total: seen.append((name, done)),
    )
    assert_same_result(out, tiny_paper_run)
    stages = list(dict.fromkeys(name.split(",")[0] for name in STAGES))
    resumed = stages.index(stage.split(",")[0])
    assert {name for name, _ in seen} == set(stages[resumed:])  # nothing was done twice
    if stage not in ("generating networks", "evaluating"):
        assert seen[0] == (stage.split(",")[0], max(1, step))  # the update that was not saved


def test_killed_while_networks_are_written(tmp_path, tiny_paper, tiny_paper_run):
    out = tmp_path / "run"
    prepared, run_line = KILLED.rsplit("run(", 1)
    program = f"{prepared}{KILLED_WRITING}run({run_line}"
    killed = subprocess.run(
        [sys.executable, "-c", program, str(out), "none", "0", *tiny_paper],
        capture_output=True,
        env=ONE_THREAD,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(list((out / ".partial-generated").iterdir())) == 3
    assert not (out / "generated").exists()
    run(load_recipe("quickstart", tiny_paper), out, device="cpu")
    assert_same_result(out, tiny_paper_run)


def wait_for(path, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name} appeared"
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.002)


def test_killed_while_the_report_is_drawn(tmp_path, tiny_paper, tiny_paper_run):
    out = tmp_path / "run"
    arguments = [str(out), "none", "0", *tiny_paper]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], env=ONE_THREAD)
    wait_for(out / "evaluation.json", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "report.html").exists()
    run(load_recipe("quickstart", tiny_paper), out, device="cpu")
    assert_same_result(out, tiny_paper_run)


def test_interrupted_from_the_keyboard(tmp_path, tiny):
    recipe = [*tiny, "diffusion.training.num_steps=400"]
    out, whole = tmp_path / "run", tmp_path / "whole"
    arguments = ["run", "quickstart", "--out", str(out), "--device", "cpu"]
    for override in recipe:
        arguments += ["--set", override]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ONE_THREAD,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(out / ".partial-state" / "denoiser.pt", process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.decode().splitlines() == ["interrupted; the same command goes on from here"]
    assert not (out / "pipeline" / "denoiser").exists()
    seen = []
    run(load_recipe("quickstart", recipe), out, device="cpu", progress=lambda *a: seen.append(a))
    assert seen[0][0] == "training the denoiser" and seen[0][1] > 1
    run(load_recipe("quickstart", recipe), whole, device="cpu")
    assert_same_result(out, whole)


def test_out_of_memory(tmp_path, tiny, tiny_run):
    out = tmp_path / "run"
    arguments = ["run", "quickstart", "--out", str(out), "--device", "cpu"]
    for override in tiny:
        arguments += ["--set", override]
    ended = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, *arguments],
        capture_output=True,
        text=True,
        env=ONE_THREAD,
    )
    assert ended.returncode == 1
    (told,) = ended.stderr.splitlines()
    assert told.startswith("out of memory; with more of it, the same command goes on from here: ")
    seen = []
    run(load_recipe("quickstart", tiny), out, device="cpu", progress=lambda *a: seen.append(a))
    assert seen[0] == ("training the denoiser", 9, 20)
    assert_same_result(out, tiny_run)
