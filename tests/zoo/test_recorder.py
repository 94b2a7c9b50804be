"""A zoo that is recorded while a loop of one's own trains."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from paramdiff import ZooRecorder, compare, fit, inspect, make
from paramdiff.checkpoints.recorded import recorded_values
from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.errors import NotFiniteError, UserError
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.metadata import zoo_conditions
from paramdiff.zoo.zoo import Zoo

QUICK = (
    "diffusion.training.num_steps=20",
    "diffusion.denoiser.width=8",
    "generation.num_inference_steps=10",
)


def network_of(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def train(recorder, network, steps, *, seed=None, frozen=(), scale=0.1, **further):
    """Change the network at every step; return its state dict and loss at each."""
    passed = {}
    for step in steps:
        torch.manual_seed(step if seed is None else (seed + 1) * 10_000 + step)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not name.startswith(tuple(frozen)) or not frozen:
                    parameter.add_(scale * torch.randn_like(parameter))
        loss = torch.tensor(1.0 / (step + 1))
        recorder.record(network, step, loss=loss, **further)
        state = {name: one.clone() for name, one in network.state_dict().items()}
        passed[step] = (state, float(loss))
    return passed


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_files_are_the_network_at_those_steps(tmp_path):
    passed = train(ZooRecorder(tmp_path / "zoo", every=5), network_of(), range(1, 23))
    (run,) = find_checkpoints([str(tmp_path / "zoo")]).runs
    assert [stored.step for stored in run] == [5, 10, 15, 20]
    assert {stored.counted_in for stored in run} == {"step"}
    for stored in run:
        tensors, _ = stored.read()
        assert same(tensors, passed[stored.step][0])
        assert list(tensors) == list(passed[1][0])  # in the order of the network
        assert recorded_values(stored.path) == {"loss": passed[stored.step][1]}
    import_checkpoints([str(tmp_path / "zoo")], tmp_path / "made", ("*",))
    zoo = Zoo.load(tmp_path / "made")
    for row, stored in zip(zoo.originals, run, strict=True):
        tensors = {**zoo.base, **zoo.layout.unflatten(row)}
        expected = passed[stored.step][0]
        assert all(one.equal(expected[n]) for n, one in tensors.items() if "num_batches" not in n)


def test_first_step_and_number_of_checkpoints_are_options(tmp_path):
    recorder = ZooRecorder(tmp_path, every=2, start=6, keep_last=3)
    train(recorder, network_of(), range(1, 6))
    assert recorder.steps == []
    train(recorder, network_of(), range(6, 15))
    assert recorder.steps == [10, 12, 14]
    assert ZooRecorder(tmp_path / "more", start=0).is_due(0)
    assert not ZooRecorder(tmp_path / "more").is_due(0)


def test_a_second_call_at_a_step_does_nothing(tmp_path):
    recorder, network = ZooRecorder(tmp_path, every=1), network_of()
    path = recorder.record(network, 1, loss=1.0)
    assert path == tmp_path / "step-00000001.safetensors"
    assert recorder.record(network, 1, loss=2.0) is None
    assert recorded_values(path) == {"loss": 1.0}


def test_state_dicts_and_wrapped_networks_have_the_bare_names(tmp_path):
    network = network_of()
    names = set(network.state_dict())
    compiled = network_of()
    compiled[0] = torch.compile(compiled[0])
    cases = {
        "plain": network.state_dict(),
        "parallel": nn.DataParallel(network),
        "compiled": torch.compile(network),
        "both": torch.compile(nn.DataParallel(network)),
        "inside": compiled,
        "dict": {f"module._orig_mod.{n}": one for n, one in network.state_dict().items()},
    }
    for run, one in cases.items():
        path = ZooRecorder(tmp_path, every=1, run=run).record(one, 1)
        assert set(load_file(path)) == names, run


def test_a_network_whose_own_child_is_called_module_keeps_its_names(tmp_path):
    network = nn.Sequential()
    network.add_module("module", nn.Linear(2, 2))
    path = ZooRecorder(tmp_path, every=1).record(network, 1)
    assert set(load_file(path)) == {"module.weight", "module.bias"}


def test_tied_tensors_stay_tied(tmp_path):
    network = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    network["head"].weight = network["embed"].weight
    train(ZooRecorder(tmp_path / "zoo", every=1), network, range(1, 4))
    import_checkpoints([str(tmp_path / "zoo")], tmp_path / "made", ("*",))
    zoo = Zoo.load(tmp_path / "made")
    assert zoo.layout.num_parameters == 15 and len(zoo.layout.ties) == 1


@pytest.mark.parametrize("is_other_rank", [False, True])
def test_only_the_first_process_writes(tmp_path, monkeypatch, is_other_rank):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: int(is_other_rank))
    written = ZooRecorder(tmp_path / "zoo", every=1).record(network_of(), 1)
    assert (written is None) == is_other_rank == (not (tmp_path / "zoo").exists())


PARALLEL = """
import sys
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from paramdiff import ZooRecorder


def work(rank, folder):
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(0)
    network = nn.parallel.DistributedDataParallel(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = ZooRecorder(f"{folder}/zoo", every=2)
    for step in range(1, 5):
        optimizer.zero_grad()
        loss = network(torch.randn(4, 3) + rank).square().mean()
        loss.backward()
        optimizer.step()
        path = recorder.record(network, step, loss=loss)
        assert (path is not None) == (rank == 0 and step % 2 == 0)
    torch.save(network.module.state_dict(), f"{folder}/last{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(work, (sys.argv[1],), nprocs=2)
"""


def test_of_two_processes_the_first_writes_under_the_bare_names(tmp_path):
    (tmp_path / "parallel.py").write_text(PARALLEL)
    program = [sys.executable, str(tmp_path / "parallel.py"), str(tmp_path)]
    subprocess.run(program, check=True, timeout=300)
    recorder = ZooRecorder(tmp_path / "zoo", every=2)
    assert recorder.steps == [2, 4]
    last = torch.load(tmp_path / "last1.pt")
    assert same(load_file(tmp_path / "zoo" / "step-00000004.safetensors"), last)


KILLED = """
import sys
import torch
from paramdiff import ZooRecorder

recorder = ZooRecorder(sys.argv[1], every=1)
weight = torch.zeros(4_000_000)
for step in range(1, 1000):
    weight += step
    recorder.record({"w": weight}, step)
    print(step, flush=True)
"""


def test_a_killed_training_leaves_whole_files_and_resumes(tmp_path):
    folder = tmp_path / "zoo"
    program = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 3:
                while not list(folder.glob(".partial-*")):  # in the middle of a file
                    pass
                os.kill(process.pid, signal.SIGKILL)
                break
    found = find_checkpoints([str(folder)]).listed
    assert len(found) >= 3
    for stored in found:
        tensors, _ = stored.read()
        assert torch.equal(
            tensors["w"], torch.full((4_000_000,), float(sum(range(stored.step + 1))))
        )
    last = found[-1].step
    recorder = ZooRecorder(folder, every=1)
    recorder.record({"w": torch.ones(4_000_000)}, last + 1)
    assert recorder.steps == list(range(1, last + 2))
    assert not list(folder.glob(".partial-*"))


def test_nothing_appears_if_the_disk_is_full(tmp_path, small_files):
    recorder = ZooRecorder(tmp_path / "zoo", every=1)
    with small_files(1000), pytest.raises(UserError, match="cannot be written"):
        recorder.record({"w": torch.zeros(1000)}, 1)
    assert list((tmp_path / "zoo").iterdir()) == []


def test_a_restarted_training_continues_its_folder(tmp_path):
    first = train(ZooRecorder(tmp_path, every=2), network_of(), range(1, 9))
    network = network_of()
    network.load_state_dict(first[3][0])  # its own last checkpoint
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    recorder = ZooRecorder(tmp_path, every=2)
    again = train(recorder, network, range(4, 13))
    assert recorder.steps == [2, 4, 6, 8, 10, 12]
    assert same(again[8][0], first[8][0])
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_training_that_resumes_otherwise_replaces_the_interrupted_one(tmp_path):
    train(ZooRecorder(tmp_path, every=2), network_of(), range(1, 11))
    recorder, network = ZooRecorder(tmp_path, every=2), network_of(1)
    with pytest.warns(UserWarning, match=r"before step 6 .*: 3 checkpoints .* step 10, are repl"):
        other = train(recorder, network, range(5, 9), seed=1)
    assert recorder.steps == [2, 4, 6, 8]
    assert same(load_file(recorder.folder / "step-00000006.safetensors"), other[6][0])


def test_another_training_in_the_folder_is_refused(tmp_path):
    first = train(ZooRecorder(tmp_path, every=2), network_of(), range(1, 11))
    recorder = ZooRecorder(tmp_path, every=2)
    with pytest.raises(UserError, match=r"step 2 is recorded already.*run=") as caught:
        train(recorder, network_of(1), range(1, 11), seed=1)
    assert str(tmp_path) in str(caught.value)
    assert recorder.steps == [2, 4, 6, 8, 10]
    with pytest.raises(UserError, match="step 4 is recorded already"):  # between recorded steps
        train(ZooRecorder(tmp_path, every=3), network_of(1), range(1, 11), seed=1)
    assert same(load_file(tmp_path / "step-00000010.safetensors"), first[10][0])
    train(ZooRecorder(tmp_path, every=2), network_of(), range(1, 13))  # the same one, longer
    assert recorder.steps == [2, 4, 6, 8, 10, 12]


def test_two_trainings_that_start_together_do_not_mix(tmp_path):
    one, other = (ZooRecorder(tmp_path, every=2) for _ in range(2))
    train(one, network_of(), range(1, 3))
    with pytest.raises(UserError, match="step 2 is recorded already"):
        train(other, network_of(1), range(1, 3), seed=1)


def test_several_runs_are_several_runs(tmp_path):
    for seed in range(2):
        recorder = ZooRecorder(tmp_path / "zoo", every=1, run=f"seed{seed}", labels={"lr": 0.1})
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        train(recorder, network, range(1, 6), seed=seed, scale=0.01)
    found = find_checkpoints([str(tmp_path / "zoo")])
    assert [[stored.step for stored in run] for run in found.runs] == [[1, 2, 3, 4, 5]] * 2
    assert recorded_values(found.listed[0].path) == {"lr": 0.1, "loss": 0.5}
    inspection = inspect(tmp_path / "zoo")
    assert "10 in 2 runs" in inspection.facts["Checkpoints"]
    assert any("two runs have nothing in common" in line for line in inspection.warnings)
    import_checkpoints([str(tmp_path / "zoo")], tmp_path / "made", ("*",))
    known = zoo_conditions(["run", "loss"], Zoo.load(tmp_path / "made"), tmp_path / "made")
    assert known.conditions.known[0].labels == ("seed0", "seed1")


def test_selected_tensors_are_completed_by_the_base(tmp_path):
    pretrained = network_of()
    for run in ("a", "b"):
        network = network_of()
        network.load_state_dict(pretrained.state_dict())
        recorder = ZooRecorder(tmp_path / "zoo", every=1, run=run, select=["2.*"])
        train(recorder, network, range(1, 6), frozen=["0", "1"], seed=ord(run))
    files = sorted(one.relative_to(tmp_path / "zoo").as_posix() for one in tmp_path.rglob("*.*"))
    assert [one for one in files if "step" not in one] == ["base.safetensors"]
    assert set(load_file(recorder._path(3))) == {"2.weight", "2.bias"}
    result = fit(tmp_path / "zoo", tmp_path / "run", num_samples=2, overrides=QUICK, force=True)
    assert result.plan.facts["Completed by"] == str(tmp_path / "zoo" / "base.safetensors")
    for path in result.generated.glob("*.safetensors"):
        tensors = load_file(path)
        pretrained.load_state_dict(tensors)
        assert torch.equal(tensors["0.weight"], network.state_dict()["0.weight"])
        with safe_open(path, "pt") as file:
            assert "step" not in json.loads(file.metadata()["paramdiff"])


@pytest.mark.filterwarnings("ignore:.*BatchNorm statistics are made like")
def test_methods_complete_selected_tensors_too(tmp_path):
    recorder, network = ZooRecorder(tmp_path / "zoo", every=1, select=["2.*"]), network_of()
    passed = train(recorder, network, range(1, 11), frozen=["0", "1"])
    import_checkpoints([str(tmp_path / "zoo")], tmp_path / "made", ("*",))
    zoo = Zoo.load(tmp_path / "made")
    assert zoo.start is None and zoo.steps.tolist() == list(range(1, 11))
    made = make("average", tmp_path / "zoo", tmp_path / "average")
    ((found,),) = find_checkpoints([str(made.folder)]).runs
    tensors, _ = found.read()
    network.load_state_dict(tensors)
    mean = torch.stack([state["2.weight"] for state, _ in passed.values()]).mean(0)
    assert torch.allclose(tensors["2.weight"], mean) and tensors["0.weight"].equal(
        passed[1][0]["0.weight"]
    )
    score = tmp_path / "judge.py"
    score.write_text(
        "def score(state):\n    return float(state['0.weight'].sum() + state['2.bias'][0])"
    )
    evaluation = compare(
        tmp_path / "zoo", tmp_path / "out", score_fn=f"{score}:score", num_compared=4
    )
    originals = [float(s["0.weight"].sum() + s["2.bias"][0]) for s, _ in passed.values()]
    assert evaluation.groups["original"].score.mean == pytest.approx(
        sum(originals) / len(originals), rel=1e-5
    )


def test_a_base_beside_its_checkpoints_is_none_of_them(tmp_path):
    recorder = ZooRecorder(tmp_path, every=1, select=["2.*"])
    train(recorder, network_of(), range(1, 4), frozen=["0", "1"])
    for source in (tmp_path, tmp_path / "*.safetensors"):
        found = find_checkpoints([str(source)])
        assert len(found.listed) == 3
        assert "base.safetensors (completes the selected tensors" in found.skipped[0]
    (tmp_path / "base.safetensors").unlink()
    with pytest.raises(UserError, match=r"base\.safetensors, which completes them, is missing"):
        fit(tmp_path, tmp_path / "run")


def test_tensors_that_are_left_out_and_change_are_named(tmp_path):
    recorder = ZooRecorder(tmp_path, every=1, select=["2.*"])
    with pytest.warns(UserWarning, match=r"4 tensors .*not selected change.*\(0\.weight"):
        train(recorder, network_of(), range(1, 5))
    for run in ("a", "b"):
        recorder = ZooRecorder(tmp_path / "zoo", every=1, select=["2.*"], run=run)
        if run == "b":
            with pytest.raises(UserError, match=r"'0\.weight', which is not selected, has other"):
                recorder.record(network_of(1), 1)
        else:
            recorder.record(network_of(0), 1)


def test_numbers_and_labels_become_conditions(tmp_path):
    for name in ("cats", "dogs"):
        recorder = ZooRecorder(tmp_path / "zoo", every=1, run=name, labels={"data": name})
        train(recorder, network_of(), range(1, 6), seed=ord(name[0]), epoch=1)
    settings = (*QUICK, "diffusion.conditions=[loss, data, step]", "generation.condition.loss=0.2")
    result = fit(tmp_path / "zoo", tmp_path / "run", num_samples=2, overrides=settings, force=True)
    entries = Zoo.load(tmp_path / "run" / "zoo").index.checkpoints
    assert entries[0].known == {"loss": 0.5, "data": "cats", "epoch": 1}
    config = json.loads((result.pipeline / "denoiser" / "config.json").read_text())
    loss, data, step = config["conditions"]
    assert (loss["low"], loss["high"]) == pytest.approx((1 / 6, 1 / 2))
    assert data["labels"] == ["cats", "dogs"] and (step["low"], step["high"]) == (1, 5)
    for name, told in (
        ("accuracy", "has no accuracy; it has data, loss, epoch"),
        ("epoch", "all"),
    ):
        with pytest.raises(UserError, match=told):
            override = [*QUICK, f"diffusion.conditions=[{name}]"]
            fit(tmp_path / "zoo", tmp_path / name, overrides=override, force=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": 0}, "every: expected a whole number of at least 1, found 0"),
        ({"every": 2.5}, "every: expected a whole number"),
        ({"every": True}, "every: expected a whole number"),
        ({"start": -1}, "start: expected a whole number of at least 0"),
        ({"keep_last": 0}, "keep_last: expected a whole number of at least 1"),
        ({"run": "a/b"}, "run: expected the name of a folder"),
        ({"run": ".."}, "run: expected the name of a folder"),
        ({"run": 3}, "run: expected the name of a folder"),
        ({"run": "optimizer"}, "run: expected the name of a folder"),
        ({"run": "3"}, "run: '3' reads as a training step"),
        ({"run": "checkpoint-3"}, "reads as a training step"),
        ({"select": "2.*"}, "select: expected a list of patterns"),
        ({"labels": {"step": 3}}, "labels: the name 'step' has a meaning of its own"),
        ({"labels": {"sizes": [3, 4]}}, "labels: sizes: expected a number or a label"),
        ({"labels": {"text": "a\nb"}}, "labels: 'text': expected one line of at most 200"),
        ({"labels": {"": 1}}, "labels: '': expected one line"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        ZooRecorder(tmp_path / "zoo", **options)
    assert not (tmp_path / "zoo").exists()


def test_values_that_are_not_finite_are_refused(tmp_path):
    recorder, network = ZooRecorder(tmp_path / "zoo", every=1), network_of()
    network[0].weight.data[0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"step 1: 0\.weight holds NaN or infinite"):
        recorder.record(network, 1)
    assert not (tmp_path / "zoo").exists()
    mask = torch.triu(torch.full((3, 3), -float("inf")), 1)
    ZooRecorder(tmp_path / "masked", every=1).record({"w": torch.ones(2), "mask": mask}, 1)


def test_a_metric_that_is_not_finite_is_left_out(tmp_path):
    recorder = ZooRecorder(tmp_path, every=1)
    with pytest.warns(UserWarning, match="step 1: loss is nan and is left out"):
        path = recorder.record(network_of(), 1, loss=float("nan"), good=True, name="x")
    assert recorded_values(path) == {"good": 1, "name": "x"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "the state dict is empty"),
        ({"w": 3}, "w: expected a tensor, found int"),
        ([1], "expected a network or a state dict, found list"),
        ({"a.weight": torch.zeros(0)}, "a.weight: expected all values.*get_model_state_dict"),
        ({"w": torch.zeros(2, device="meta")}, "w: expected all values"),
        ({"w": torch.zeros(2).to_sparse()}, "w: expected a dense tensor"),
        ({"w": torch.zeros(2).to(torch.float8_e5m2)}, "w: expected 16 or more bits"),
    ],
)
def test_what_cannot_be_read_again_is_refused(tmp_path, content, told):
    with pytest.raises(UserError, match=told):
        ZooRecorder(tmp_path / "zoo", every=1).record(content, 1)
    assert not (tmp_path / "zoo").exists()


def test_sharded_networks_are_refused_in_every_process(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)

    class FullyShardedDataParallel(nn.Linear):
        pass

    network = nn.Sequential(FullyShardedDataParallel(2, 2))
    with pytest.raises(UserError, match="sharded over processes: gather it"):
        ZooRecorder(tmp_path).record(network, 1)


def test_steps_that_start_anew_each_epoch_are_refused(tmp_path):
    recorder = ZooRecorder(tmp_path, every=5)
    train(recorder, network_of(), range(10))
    with pytest.raises(UserError, match="step 0 comes after step 9: count the updates of the wh"):
        train(recorder, network_of(), range(10))
    with pytest.raises(UserError, match=r"step: expected a whole number.*found 1\.5"):
        recorder.record(network_of(), 1.5)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (nn.Sequential(nn.Linear(3, 4)), r"has a tensor '1\.\w+', unlike"),
        (nn.Sequential(*network_of(), nn.Linear(2, 2)), r"has no tensor '3\.weight', unlike"),
        (nn.Sequential(nn.Linear(3, 5), *list(network_of())[1:]), r"'0\.weight' is \[4, 3\] of f"),
        (
            network_of().double(),
            r"'0\.weight' is \[4, 3\] of float32, and now \[4, 3\] of float64",
        ),
    ],
)
@pytest.mark.parametrize("run", [None, "b"])
def test_another_network_is_refused_before_anything_is_written(tmp_path, other, told, run):
    train(ZooRecorder(tmp_path, every=2, run=run and "a"), network_of(), range(1, 3))
    recorder = ZooRecorder(tmp_path, every=2, run=run)
    with pytest.raises(UserError, match=told):
        recorder.record(other, 3)  # also if the step is not due


def test_another_selection_is_refused(tmp_path):
    train(ZooRecorder(tmp_path, every=1), network_of(), range(1, 3))
    with pytest.raises(UserError, match=r"has a tensor '0\.\w+', unlike"):
        ZooRecorder(tmp_path, every=1, select=["2.*"]).record(network_of(), 3)
    with pytest.raises(UserError, match=r"'3\.\*' matches none of"):
        ZooRecorder(tmp_path / "new", every=1, select=["3.*"]).record(network_of(), 3)


def test_others_files_are_refused_where_they_would_be_taken_for_checkpoints(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    ZooRecorder(tmp_path)
    torch.save({"w": torch.zeros(2)}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: expected a folder for recorded"):
        ZooRecorder(tmp_path)
    (tmp_path / "last.ckpt").unlink()
    save_file({"w": torch.zeros(2)}, tmp_path / "base.safetensors")  # not a recorder's
    with pytest.raises(UserError, match=r"base\.safetensors: expected a folder for recorded"):
        ZooRecorder(tmp_path)
    with pytest.raises(UserError, match="expected a folder, found a file"):
        ZooRecorder(tmp_path / "notes.txt")
    save_file({"w": torch.zeros(2)}, tmp_path / "step-00000001.safetensors")
    (tmp_path / "base.safetensors").unlink()
    with pytest.raises(UserError, match="expected a recorded checkpoint, found another file"):
        ZooRecorder(tmp_path).record({"w": torch.zeros(2)}, 2)


def test_runs_with_and_without_names_do_not_mix(tmp_path):
    ZooRecorder(tmp_path / "one", every=1).record(network_of(), 1)
    with pytest.raises(UserError, match="holds a run without a name"):
        ZooRecorder(tmp_path / "one", run="b")
    ZooRecorder(tmp_path / "two", every=1, run="a").record(network_of(), 1)
    with pytest.raises(UserError, match=r"holds named runs \(a, \.\.\.\)"):
        ZooRecorder(tmp_path / "two")


def test_importing_it_loads_torch_and_safetensors_alone():
    code = (
        "import sys; from paramdiff import ZooRecorder; "
        "heavy = {'diffusers', 'pydantic', 'transformers', 'lightning', 'sklearn', 'scipy'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
