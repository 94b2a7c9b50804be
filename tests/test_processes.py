"""Two processes over gloo: the same training as one, at equal batches of all together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paramdiff.storage import read_json, sha256_of
from tests.runs.test_resume import assert_same_result
from tests.together import STOP_AT, all_trainings, denoiser

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    ),
}
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def program(*command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of two processes."""
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def seen(folder, tmp_path_factory):
    """What each training gave in one process, and in either of two."""
    done = program(sys.executable, "-m", "tests.together", str(folder))
    assert done.returncode == 0, done.stderr
    one = all_trainings(tmp_path_factory.mktemp("one"))
    return one, read_json(folder / "0.json"), read_json(folder / "1.json")


def test_the_main_process_says_when_all_stop(seen):
    one, first, second = (results["stopped"] for results in seen)
    assert len(one["losses"]) == len(first["losses"]) == len(second["losses"]) == 8
    assert first["weights"] == pytest.approx(one["weights"], abs=1e-5)


@pytest.mark.parametrize("training", ["denoiser", "resumed denoiser", "eval"])
def test_without_batch_statistics_two_processes_train_as_one(seen, training):
    """Losses of every update, and weights: after one step of ``eval`` those tell gradients."""
    one, first, _ = (results[training] for results in seen)
    assert first["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert first["weights"] == pytest.approx(one["weights"], abs=1e-4)  # sums of each tensor


@pytest.mark.parametrize("training", ["codec", "variational codec", "train"])
def test_batch_statistics_are_each_process_own(seen, training):
    one, first, _ = (results[training] for results in seen)
    assert abs(first["losses"][0] - one["losses"][0]) > 1e-4
    assert first["losses"][0] == pytest.approx(one["losses"][0], rel=0.5)


def test_all_processes_end_with_the_same_bits(seen):
    _, first, second = seen
    # what was stopped early keeps the weights of the best validation, which the main process has
    assert {name for name in first if first[name] != second[name]} == {"stopped"}


def test_training_alone_is_not_shared(seen):
    one, first, second = (results["alone"] for results in seen)
    assert first == second == one


def test_an_interrupted_training_goes_on_to_the_bit(seen):
    for results in seen:
        resumed = dict(results["resumed denoiser"])
        assert resumed.pop("num_saved") == STOP_AT - 1
        assert resumed == results["denoiser"]


def test_one_process_goes_on_where_two_were_interrupted(seen, folder):
    resumed = denoiser(folder / "interrupted.pt")
    assert resumed["losses"][: STOP_AT - 1] == seen[1]["denoiser"]["losses"][: STOP_AT - 1]
    assert resumed["losses"] == pytest.approx(seen[0]["denoiser"]["losses"], abs=1e-5)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("odd batch", "diffusion.training.batch_size: 13 is not a multiple of the 2"),
        ("unshared work", "sweep: this takes one process, not 2"),
    ],
)
def test_what_cannot_be_shared_is_refused(seen, case, told):
    one, first, second = (results[case] for results in seen)
    assert one is None
    assert first == second and first.startswith(told)


# The second process kills itself at its ninth update of the denoiser when it is first started; the
# file beside the script counts the updates since the last start. Then it comes late, so that the
# first one would find the address of the killed one.
KILLED = """
import os, signal, time
from pathlib import Path
import torch
from paramdiff import training_loop
from paramdiff.cli import main
from paramdiff.diffusion import training

torch.set_num_threads(1)
training_loop.SECONDS_BETWEEN_SAVES = 0.0
loss, calls, mark = training.denoising_loss, [], Path(__file__).with_name("updates done")
once = Path(__file__).with_name("killed once")

def lethal(*arguments):
    calls.append(1)
    if (len(calls), os.environ["RANK"]) == (9, "1") and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    mark.write_text(str(len(calls)))
    return loss(*arguments)

training.denoising_loss = lethal
if once.exists() and os.environ["RANK"] == "1":
    time.sleep(3)
main()
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_paper):
    """A run of two processes that nothing interrupted, and its command but for the folder."""
    options = ["run", "quickstart", "--device", "cpu"]
    for override in tiny_paper:
        options += ["--set", override]
    out = tmp_path_factory.mktemp("whole") / "run"
    done = program(*LAUNCH, "-m", "paramdiff", *options, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Report:") == 1  # the others are quiet
    return out, options


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_run_goes_on_when_a_process_was_killed(tmp_path, whole, tiny_paper_run, restarts):
    """By the same command, or by itself where the launcher may start all of them again."""
    uninterrupted, options = whole
    assert sha256_of(uninterrupted / "zoo") == sha256_of(tiny_paper_run / "zoo")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [*LAUNCH, f"--max-restarts={restarts}", str(script), *options]
    command += ["--out", str(tmp_path / "run")]
    if not restarts:
        assert program(*command).returncode != 0  # the launcher ends the other one
    done = program(*command)
    assert done.returncode == 0, done.stderr
    assert 1 <= int((tmp_path / "updates done").read_text()) < 20  # of 20, in the second start
    assert_same_result(tmp_path / "run", uninterrupted)
