"""Collecting a zoo from a tiny task: what moves, what is kept, and going on after a kill."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from paramdiff import training_loop
from paramdiff.errors import UserError
from paramdiff.storage import read_tensors
from paramdiff.tasks.base import seeded_network
from paramdiff.zoo.objective import evaluate_accuracy
from paramdiff.zoo.zoo import Zoo

from .collecting import (
    CPU,
    FINE_TUNING,
    HARD_PRETRAINING,
    PRETRAINING,
    STEPS_PER_PASS,
    Killed,
    build_network,
    bytes_of,
    collected,
    dies_at,
    made_task,
    split,
)


def test_only_what_is_selected_moves(tmp_path):
    built = []
    zoo = collected(tmp_path, made_task(built=built))
    pretrained = read_tensors(tmp_path / "state" / "pretrained-0.safetensors")
    assert zoo.base.keys() == pretrained.keys() == build_network().state_dict().keys()
    assert all(zoo.base[name].equal(pretrained[name]) for name in pretrained)
    assert zoo.layout.names == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    tuned = built[0].state_dict()  # the network after the last update
    assert zoo.layout.flatten(tuned).equal(zoo.held_out[-1])
    for name, _ in built[0].named_parameters():
        assert tuned[name].equal(pretrained[name]) == (name not in zoo.layout.names), name
    rows = torch.cat([zoo.layout.flatten(pretrained)[None], zoo.originals, zoo.held_out])
    for slot in zoo.layout.slots:
        steps = rows[1:, slot.start : slot.stop] - rows[:-1, slot.start : slot.stop]
        assert steps.abs().amax(1).gt(0).all(), slot.name  # each checkpoint differs from the last


def test_unselected_running_statistics_stay_the_pretrained_ones(tmp_path):
    built = []
    zoo = collected(tmp_path, made_task(built=built), patterns=("1.weight",))
    pretrained = read_tensors(tmp_path / "state" / "pretrained-0.safetensors")
    assert not built[0].state_dict()["1.running_mean"].equal(pretrained["1.running_mean"])
    assert zoo.base["1.running_mean"].equal(pretrained["1.running_mean"])


def test_the_first_update_is_the_optimizers(tmp_path):
    """Minus the learning rate times the gradient of the first batch."""
    zoo = collected(
        tmp_path,
        patterns=("3.*",),
        num_checkpoints=2,
        num_held_out=0,
        fine_tuning={"optimizer": "sgd", "weight_decay": 0.0, "mode": "eval", "batch_size": 50},
    )
    network = build_network().eval()
    network.load_state_dict(zoo.base)
    train = made_task().train
    nn.functional.cross_entropy(network(train.inputs), train.labels).backward()
    gradient = zoo.layout.flatten(
        {"3.weight": network[3].weight.grad, "3.bias": network[3].bias.grad}
    )
    expected = zoo.layout.flatten(zoo.base) - FINE_TUNING["lr"] * gradient
    torch.testing.assert_close(zoo.originals[0], expected, atol=1e-6, rtol=1e-5)


def test_one_run_holds_out_its_tail(tmp_path):
    zoo = collected(tmp_path)
    assert zoo.index.hold_out == "tail"
    assert [entry.held_out for entry in zoo.index.checkpoints] == [False] * 5 + [True] * 2
    assert [entry.step for entry in zoo.index.checkpoints] == [1, 2, 3, 4, 5, 6, 7]
    assert {entry.run for entry in zoo.index.checkpoints} == {0}
    assert len(zoo.runs.unique()) == 1


def test_nothing_held_out(tmp_path):
    zoo = collected(tmp_path, num_held_out=0)
    assert zoo.index.hold_out == "none"
    assert (len(zoo.originals), len(zoo.held_out)) == (5, 0)


def test_a_single_checkpoint_warns(tmp_path):
    with pytest.warns(UserWarning, match="with a single checkpoint, only copies"):
        zoo = collected(tmp_path, num_checkpoints=1)
    assert (len(zoo.originals), len(zoo.held_out)) == (1, 2)


@pytest.mark.parametrize("num_held_out", [1, 3])
def test_several_runs_hold_out_the_last(tmp_path, num_held_out):
    zoo = collected(tmp_path, num_runs=3, num_held_out=num_held_out)
    entries = zoo.index.checkpoints
    assert [(entry.run, entry.step) for entry in entries if not entry.held_out] == [
        (0, 1), (0, 2), (0, 3), (1, 1), (1, 2),
    ]  # fmt: skip
    held_out = [(entry.run, entry.step) for entry in entries if entry.held_out]
    assert held_out == [(2, 1), (2, 2), (2, 3)][:num_held_out]
    assert (len(zoo.originals), len(zoo.held_out)) == (5, num_held_out)
    assert zoo.index.hold_out == "run"
    assert len(zoo.runs.unique()) == 2
    first = torch.stack([zoo.originals[0], zoo.originals[3], zoo.held_out[0]])
    distance = (first - zoo.layout.flatten(zoo.base)).norm(dim=1)
    assert torch.pdist(first).gt(0).all()  # other batches in each run
    # all of them start from the pretrained: one update away, not as far as another run's end
    assert distance.max() < 2 * distance.min()


@pytest.mark.parametrize("kwargs", [{"num_held_out": 0}, {"num_checkpoints": 1}])
def test_a_run_without_checkpoints_is_refused(tmp_path, kwargs):
    with pytest.raises((UserError, ValidationError)):
        collected(tmp_path, num_runs=3, **kwargs)


def test_skipped_and_spaced_checkpoints(tmp_path):
    dense = collected(tmp_path / "dense", num_checkpoints=11, num_held_out=0)
    sparse = collected(
        tmp_path / "sparse", num_checkpoints=2, num_held_out=1, skip_steps=2, save_every_steps=3
    )
    assert [entry.step for entry in sparse.index.checkpoints] == [5, 8, 11]
    assert sparse.originals.equal(dense.originals[[4, 7]])
    assert sparse.held_out.equal(dense.originals[[10]])


def test_the_mode_decides_which_statistics_are_used(tmp_path):
    zoos = {
        mode: collected(tmp_path / mode, fine_tuning={"mode": mode}) for mode in ("train", "eval")
    }
    train, evaluation = zoos["train"], zoos["eval"]
    assert train.base["0.weight"].equal(evaluation.base["0.weight"])  # the pretrained is the same
    for slot in train.layout.slots:
        place = slice(slot.start, slot.stop)
        assert not train.originals[:, place].equal(evaluation.originals[:, place])
        if "running" in slot.name:  # does not move in evaluation mode
            pretrained = evaluation.base[slot.name].expand(5, -1)
            assert evaluation.originals[:, place].equal(pretrained)


def test_a_seed_determines_everything(tmp_path):
    for name in ("one", "same"):
        collected(tmp_path / name)
    assert bytes_of(tmp_path / "one" / "zoo") == bytes_of(tmp_path / "same" / "zoo")
    one, other = Zoo.load(tmp_path / "one" / "zoo"), collected(tmp_path / "other", seed=1)
    assert not one.base["0.weight"].equal(other.base["0.weight"])


def test_torchs_global_generator_is_left_alone(tmp_path):
    before = torch.get_rng_state()
    collected(tmp_path)
    assert torch.get_rng_state().equal(before)


def test_a_final_learning_rate_shortens_the_steps(tmp_path):
    plain = {"optimizer": "adam", "weight_decay": 0.0}
    constant = collected(tmp_path / "a", num_checkpoints=12, fine_tuning=plain)
    decayed = collected(
        tmp_path / "b", num_checkpoints=12, fine_tuning={**plain, "final_lr": 1e-4}
    )
    assert decayed.originals[0].equal(constant.originals[0])  # the first has the full rate
    place = slice(0, 16)  # weights and biases
    last = [(z.held_out[-1] - z.held_out[-2])[place].norm() for z in (constant, decayed)]
    assert last[1] < 0.5 * last[0]


def test_augmentation_changes_training_and_nothing_else(tmp_path):
    train = made_task().train.inputs

    def augmentation(rows, generator):
        return train[rows] + torch.randn(len(rows), 4, generator=generator)

    plain = collected(tmp_path / "plain")
    augmented = collected(tmp_path / "augmented", made_task(augmented=augmentation))
    again = collected(tmp_path / "again", made_task(augmented=augmentation))
    assert not plain.originals.equal(augmented.originals)
    assert again.originals.equal(augmented.originals)


@pytest.mark.parametrize("noise", [0.9, 0.0])
def test_the_trunk_is_the_first_best_validation_epoch(tmp_path, noise):
    built, snapshots = [], []

    def progress(work, done, total):
        if work == "pre-training" and done % STEPS_PER_PASS == 0:
            snapshots.append(copy.deepcopy(built[0]).eval())

    task = made_task(noise=noise, built=built)
    pretraining = HARD_PRETRAINING if noise else {"epochs": 12, "lr": 1e-6}
    zoo = collected(tmp_path, task, pretraining=pretraining, progress=progress)
    assert len(snapshots) == 12
    truth = task.validation.labels
    with torch.no_grad():
        correct = [(net(task.validation.inputs).argmax(1) == truth).sum() for net in snapshots]
    counts = torch.stack(correct).tolist()
    best = counts.index(max(counts))
    if noise:
        assert counts[best] > counts[-1]  # else the test shows nothing
    else:
        assert counts.count(counts[best]) > 1  # several are best
    found = snapshots[best].state_dict()
    assert all(zoo.base[name].equal(found[name]) for name in found)


def test_accuracy_is_counted_in_evaluation_mode_and_leaves_the_mode():
    network, data = build_network(), split(1201, 5)
    for mode in (True, False):
        network.train(mode)
        before = copy.deepcopy(network.state_dict())
        found = evaluate_accuracy(network, data, CPU)
        assert network.training is mode
        assert all(before[name].equal(tensor) for name, tensor in network.state_dict().items())
    correct = (network.eval()(data.inputs).argmax(1) == data.labels).double().mean()
    assert found == pytest.approx(float(correct), abs=1e-9)


def test_refusals(tmp_path):
    with pytest.raises(UserError, match=r"'7\.\*' matches none of 9 tensors"):
        collected(tmp_path, patterns=("7.*",))
    with pytest.raises(UserError, match="nothing to generate"):
        collected(tmp_path, patterns=("1.num_batches_tracked",))
    diverging = {"lr": 1e30, "optimizer": "sgd"}
    with pytest.raises(UserError, match=r"diverged: the loss of update \d is (nan|inf)"):
        collected(tmp_path / "a", pretraining=diverging)
    with pytest.raises(UserError, match=r"update \d.* nan|'1\.weight' holds 8 NaN"):
        collected(tmp_path / "b", fine_tuning=diverging)
    assert not (tmp_path / "a" / "zoo").exists()
    assert not (tmp_path / "b" / "zoo").exists()
    assert not (tmp_path / "zoo").exists()


def test_a_selection_that_training_cannot_move_is_refused(tmp_path):
    with pytest.raises(UserError):
        collected(tmp_path, patterns=("1.running_*",))


# ---- killed and started again


@pytest.mark.parametrize(
    "moments",
    [
        [("pre-training", 1)],
        [("pre-training", 4), ("pre-training", 1), ("pre-training", 5)],
        [("collecting checkpoints", 1)],
        [("collecting checkpoints", 3)],
        [("collecting checkpoints", 5)],  # in the second run
        [("pre-training", 47), ("collecting checkpoints", 2), ("collecting checkpoints", 4)],
    ],
)
@pytest.mark.parametrize("is_saved_always", [True, False])
def test_a_killed_collection_goes_on_to_the_same_zoo(
    tmp_path, monkeypatch, moments, is_saved_always
):
    """Whether the state was saved after every update or never."""
    whole = tmp_path / "whole"
    kwargs = {"num_runs": 3, "pretraining": HARD_PRETRAINING}
    collected(whole, made_task(noise=0.9), **kwargs)
    if is_saved_always:
        monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    killed = tmp_path / "killed"
    for moment in moments:
        with pytest.raises(Killed):
            collected(killed, made_task(noise=0.9), progress=dies_at(moment), **kwargs)
        assert not (killed / "zoo").exists()
    collected(killed, made_task(noise=0.9), **kwargs)
    assert bytes_of(killed / "zoo") == bytes_of(whole / "zoo")


def test_work_that_was_saved_is_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    with pytest.raises(Killed):
        collected(tmp_path, num_runs=2, progress=dies_at(("pre-training", 5)))
    seen = []

    def progress(work, done, total):
        seen.append((work, done))
        if seen.count((work, done)) == 1 and (work, done) == ("collecting checkpoints", 3):
            raise Killed

    with pytest.raises(Killed):
        collected(tmp_path, num_runs=2, progress=progress)
    total = PRETRAINING["epochs"] * STEPS_PER_PASS
    assert [done for work, done in seen if work == "pre-training"] == list(range(5, total + 1))
    del seen[:]
    collected(tmp_path, num_runs=2, progress=lambda work, done, total: seen.append((work, done)))
    assert seen == [("collecting checkpoints", done) for done in (3, 4, 5, 1, 2)]


def test_a_finished_run_is_not_repeated(tmp_path):
    """Five checkpoints in the first run, two in the second, and no time to save a state."""
    with pytest.raises(Killed):
        collected(tmp_path, num_runs=2, progress=dies_at(("collecting checkpoints", 7)))
    seen = []
    collected(tmp_path, num_runs=2, progress=lambda work, done, total: seen.append((work, done)))
    assert seen == [("collecting checkpoints", done) for done in (1, 2)]


def test_without_pretraining_the_network_is_the_trunk(tmp_path):
    zoo = collected(tmp_path, pretraining=None)
    own = seeded_network(made_task(), 0).state_dict()
    assert all(zoo.base[name].equal(own[name]) for name in own)
    assert not (tmp_path / "state" / "pretrained-0.safetensors").exists()
    assert not zoo.originals[0].equal(zoo.layout.flatten(own))


def test_a_decay_per_epoch_keeps_the_rate_within_an_epoch(tmp_path):
    """One epoch has the full learning rate throughout; three have the cosine of their number."""
    plain = {"weight_decay": 0.0, "optimizer": "sgd", "lr": 0.01}
    rates = []
    original = torch.optim.SGD.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", step)
        for epochs in (1, 3):
            pretraining = {**plain, "epochs": epochs, "decay": "epoch"}
            collected(tmp_path / str(epochs), pretraining=pretraining)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    expected = [0.01] * STEPS_PER_PASS
    for _ in range(3):
        expected += [schedule.get_last_lr()[0]] * STEPS_PER_PASS
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected)


def test_a_mode_that_changes_after_the_first_checkpoint(tmp_path):
    """Batch statistics up to the first checkpoint, running ones from then on."""
    zoo = collected(tmp_path / "a", fine_tuning={"mode": "eval_after_first_save"}, skip_steps=2)
    train = collected(tmp_path / "b", fine_tuning={"mode": "train"}, skip_steps=2)
    assert zoo.originals[0].equal(train.originals[0])
    for slot in zoo.layout.slots:
        place = slice(slot.start, slot.stop)
        assert not zoo.originals[1, place].equal(train.originals[1, place])
        assert zoo.originals[1, place].equal(zoo.originals[0, place]) == ("running" in slot.name)


def test_independent_runs_share_nothing(tmp_path):
    kwargs = {"patterns": ("*",), "num_runs": 3}
    zoo = collected(tmp_path / "a", independent_runs=True, **kwargs)
    branches = collected(tmp_path / "b", **kwargs)
    assert zoo.originals[:3].equal(branches.originals[:3])  # the first run is the same
    assert all(zoo.base[name].equal(branches.base[name]) for name in zoo.base)
    firsts = torch.stack([zoo.originals[0], zoo.originals[3], zoo.held_out[0]])
    close = torch.stack([branches.originals[0], branches.originals[3], branches.held_out[0]])
    assert torch.pdist(firsts).min() > 5 * torch.pdist(close).max()
    assert len({entry.seed for entry in zoo.index.checkpoints}) == 3
    assert {entry.seed for entry in branches.index.checkpoints} == {0}


def test_independent_runs_must_generate_every_tensor(tmp_path):
    with pytest.raises(UserError, match=r"independent_runs: .*'0\.weight' is not selected"):
        collected(tmp_path, num_runs=2, independent_runs=True)
    assert not (tmp_path / "state").exists()
