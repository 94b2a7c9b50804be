"""Runs and sweeps on two workers give what they give here, also where workers are killed."""

import threading
import time

import psutil
import pytest

from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.run import run
from paramdiff.runs.sweep import run_sweep, waits_for
from paramdiff.runs.sweep_entries import plan_sweep
from paramdiff.storage import read_json, read_tensors, sha256_of
from tests.runs.test_sweep import Watch

ARTEFACTS = ("zoo", "pipeline", "generated")


def test_a_recipe_waits_for_the_earlier_one_that_it_shares_most_with(tiny):
    changes = [
        "seed=0",
        "seed=1",
        "collection.fine_tuning.lr=0.01",  # the first one's pre-trained network
        "generation.num_samples=7",  # all but the networks
        "collection.pretraining.lr=0.1",
    ]
    recipes = [load_recipe("quickstart", [*tiny, change]) for change in changes]
    recipes.append(load_recipe("quickstart", [*tiny, changes[1], changes[3]]))
    assert waits_for(recipes) == {2: 0, 3: 0, 5: 1}
    assert waits_for(recipes[:1]) == {}


def results_of(folder):
    arrays = read_tensors(folder / "arrays.safetensors")
    evaluation = read_json(folder / "evaluation.json") | {"cost": None}
    return evaluation, {name: tensor.tolist() for name, tensor in arrays.items()}


@pytest.mark.slow
def test_a_run_on_workers_is_the_same(tmp_path, tiny, two_workers):
    recipe = load_recipe("quickstart", [*tiny, "generator_seeds=[0, 5]", "collection.num_runs=3"])
    here, there, seen = tmp_path / "here", tmp_path / "there", []
    run(recipe, here, device="cpu")
    run(recipe, there, device="cpu", fan_out=two_workers, progress=lambda *t: seen.append(t))
    for part in (*ARTEFACTS, "seeds/5/pipeline", "seeds/5/generated"):
        assert sha256_of(there / part) == sha256_of(here / part), part
    assert results_of(there) == results_of(here)
    assert ("collecting runs", 3, 3) in seen and ("training generators", 2, 2) in seen
    assert "training the denoiser" not in {stage for stage, *_ in seen}
    assert not list(there.rglob(".partial*"))


def kill_workers_when(path, killed):
    """Kill whatever worker is at work as soon as a file is there."""
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline:
        time.sleep(0.05)
        for process in psutil.Process().children(recursive=True) if path.exists() else ():
            if any("ray::_work" in word for word in process.cmdline()):
                process.kill()
                killed.append(process.pid)


@pytest.mark.slow
def test_a_sweep_on_workers_is_the_same_though_they_are_killed(tmp_path, tiny, two_workers):
    entries = plan_sweep(["quickstart"], tiny, "seed=0,1")
    entries += plan_sweep(["quickstart"], tiny, "generation.temperature=0.5")
    here, there, killed, watch = tmp_path / "here", tmp_path / "there", [], Watch()
    expected = run_sweep(entries, here, device="cpu", watch=Watch())
    file = there / entries[0].name / "zoo" / "index.json"
    killer = threading.Thread(target=kill_workers_when, args=(file, killed))
    killer.start()
    made = run_sweep(entries, there, device="cpu", watch=watch, fan_out=two_workers)
    killer.join()
    assert killed
    assert made == expected
    assert watch.worked == {"3 recipes side by side": {"recipes"}}
    for entry in entries:
        for part in ARTEFACTS:
            assert sha256_of(there / entry.name / part) == sha256_of(here / entry.name / part)
    again = run_sweep(entries, there, device="cpu", watch=Watch(), fan_out=two_workers)
    assert again == expected
