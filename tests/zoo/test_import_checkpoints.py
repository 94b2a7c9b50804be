"""Somebody's checkpoints to a zoo."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.storage import sha256_of, write_tensors
from paramdiff.zoo.import_checkpoints import import_checkpoints, refuse_changed
from paramdiff.zoo.zoo import Zoo

PATTERNS = ("1.*",)


def state(seed):
    """The selected normalization layer differs, the rest does not."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    torch.manual_seed(seed)
    return network.state_dict() | {
        "1.weight": torch.randn(4),
        "1.num_batches_tracked": torch.tensor(seed),
    }


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        write_tensors(path, tensors)
    else:
        torch.save(tensors, path)


def filled(folder, names):
    states = [state(seed) for seed in range(len(names))]
    for name, tensors in zip(names, states, strict=True):
        save(folder / name, tensors)
    return states


def imported(tmp_path, **kwargs):
    import_checkpoints([str(tmp_path / "source")], tmp_path / "zoo", PATTERNS, **kwargs)
    return Zoo.load(tmp_path / "zoo")


def refusal(tmp_path, patterns=PATTERNS, **kwargs):
    with pytest.raises(UserError) as caught:
        import_checkpoints([str(tmp_path / "source")], tmp_path / "zoo", patterns, **kwargs)
    assert not (tmp_path / "zoo").exists()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("pattern", ["", "/*.pt"])
def test_a_zoo_of_changed_checkpoints_is_refused(tmp_path, pattern):
    source, zoo = tmp_path / "source", tmp_path / "zoo"
    filled(source, ["a.pt", "b.pt"])
    imported(tmp_path)
    sources = [f"{source}{pattern}"]
    refuse_changed(sources, zoo)
    later = (zoo / "index.json").stat().st_mtime + 9
    os.utime(source / "b.pt", (later, later))  # written again, but equal
    refuse_changed(sources, zoo)
    before = (source / "b.pt").read_bytes()
    save(source / "b.pt", state(5))
    os.utime(source / "b.pt", (later, later))
    with pytest.raises(UserError, match=r"b\.pt: changed after .*zoo was imported"):
        refuse_changed(sources, zoo)
    (source / "b.pt").write_bytes(before)
    save(source / "c.pt", state(2))
    with pytest.raises(
        UserError, match=r"was imported from 2 checkpoints, but .* now holds 3 or others"
    ):
        refuse_changed(sources, zoo)
    for path in Path(source).iterdir():
        path.unlink()
    refuse_changed(sources, zoo)  # the zoo has its own copies


def test_files_of_both_kinds_in_natural_order(tmp_path):
    names = ["step2.pt", "step10.safetensors", "step11.pth"]
    states = filled(tmp_path / "source", names)
    zoo = imported(tmp_path)
    assert zoo.layout.names == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    for row, tensors in zip(zoo.originals, states, strict=True):
        assert zoo.layout.flatten(tensors).equal(row)
    assert zoo.base.keys() == states[0].keys()
    assert all(zoo.base[name].equal(tensor) for name, tensor in states[0].items())
    assert [entry.source for entry in zoo.index.checkpoints] == names
    hashes = [entry.source_sha256 for entry in zoo.index.checkpoints]
    assert hashes == [sha256_of(tmp_path / "source" / name) for name in names]
    assert zoo.index.hold_out == "none"
    assert len(zoo.held_out) == 0
    assert zoo.runs.tolist() == [0] * len(zoo.originals)


def test_what_differs_and_is_not_selected_stops_the_import(tmp_path):
    states = filled(tmp_path / "source", ["0.pt", "1.pt", "2.pt"])
    for name in ("2.bias", "0.weight"):
        states[2][name] = states[2][name] + 1
    save(tmp_path / "source" / "2.pt", states[2])
    assert refusal(tmp_path).startswith(
        "2 unselected tensors differ between the checkpoints (0.weight, 2.bias): "
    )
    assert "0.weight" not in refusal(tmp_path, ("1.*", "0.weight"))
    save(tmp_path / "base.pt", states[1])
    zoo = imported(tmp_path, base=tmp_path / "base.pt")
    assert zoo.base["2.bias"].equal(states[1]["2.bias"])


def test_a_base_completes_what_is_not_selected(tmp_path):
    filled(tmp_path / "source", ["0.pt", "1.pt"])
    base = state(77)
    save(tmp_path / "base.safetensors", base)
    zoo = imported(tmp_path, base=tmp_path / "base.safetensors")
    assert all(zoo.base[name].equal(tensor) for name, tensor in base.items())
    assert not zoo.originals[0].equal(zoo.layout.flatten(base))


def test_a_base_without_what_is_selected_is_refused(tmp_path):
    filled(tmp_path / "source", ["0.pt", "1.pt"])
    base = state(77)
    del base["1.bias"]
    save(tmp_path / "base.pt", base)
    message = refusal(tmp_path, base=tmp_path / "base.pt")
    assert "base.pt" in message
    assert "'1.bias'" in message


@pytest.mark.parametrize("name", ["0.weight", "1.weight"])  # selected or not
def test_other_names_say_which_file_and_tensor(tmp_path, name):
    states = filled(tmp_path / "source", ["a.pt", "b.pt", "c.pt"])
    del states[2][name]
    save(tmp_path / "source" / "c.pt", states[2])
    message = refusal(tmp_path)
    assert f"c.pt: tensor '{name}' is missing, which a.pt has" in message
    save(tmp_path / "source" / "c.pt", state(2) | {"extra": torch.ones(1)})
    assert "a.pt: tensor 'extra' is missing, which c.pt has" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["0.weight", "1.weight"])
def test_another_shape_says_which_file_and_tensor(tmp_path, name):
    states = filled(tmp_path / "source", ["a.pt", "b.pt"])
    shape = list(states[0][name].shape)
    save(tmp_path / "source" / "b.pt", states[1] | {name: torch.ones(5, 5)})
    message = refusal(tmp_path)
    assert f"b.pt: tensor '{name}' has shape [5, 5], but {shape} in a.pt" in message


@pytest.mark.parametrize("number", [0, 1])
def test_nan_says_where(tmp_path, number):
    names = ["a.pt", "b.safetensors"]
    states = filled(tmp_path / "source", names)
    states[number]["1.bias"][2] = torch.nan
    save(tmp_path / "source" / names[number], states[number])
    message = refusal(tmp_path)
    assert names[number] in message
    assert "'1.bias'" in message
    assert "1 NaN" in message


def test_damaged_files_and_patterns_without_a_match_are_refused(tmp_path):
    filled(tmp_path / "source", ["a.pt", "b.pt"])
    assert "'nothing.*'" in refusal(tmp_path, ("nothing.*",))
    (tmp_path / "source" / "b.pt").write_bytes(b"PK\x03\x04")
    assert "b.pt" in refusal(tmp_path)


def test_a_single_checkpoint_warns(tmp_path):
    filled(tmp_path / "source", ["a.pt"])
    with pytest.warns(UserWarning, match="with a single checkpoint, only copies"):
        zoo = imported(tmp_path)
    assert len(zoo.originals) == 1


def test_a_single_checkpoint_beside_held_out_ones_warns(tmp_path):
    filled(tmp_path / "source", ["a.pt", "b.pt"])
    with pytest.warns(UserWarning, match="single checkpoint"):
        zoo = imported(tmp_path, num_held_out=1)
    assert (len(zoo.originals), len(zoo.held_out)) == (1, 1)


def test_the_tail_is_held_out(tmp_path):
    states = filled(tmp_path / "source", [f"{i}.pt" for i in (1, 2, 9, 10, 11)])
    zoo = imported(tmp_path, num_held_out=2)
    assert zoo.index.hold_out == "tail"
    assert len(zoo.originals) == 3
    for row, tensors in zip(zoo.held_out, states[3:], strict=True):
        assert zoo.layout.flatten(tensors).equal(row)


@pytest.mark.parametrize("names", [range(25), [f"{run}/{i}" for run in "ab" for i in range(11)]])
def test_evenly_spaced_ones_are_held_out(tmp_path, names):
    states = filled(tmp_path / "source", [f"{name}.pt" for name in names])
    zoo = imported(tmp_path, num_held_out=5, spaced=True)
    assert zoo.index.hold_out == "spaced"
    held_out = [row for row, one in enumerate(zoo.index.checkpoints) if one.held_out]
    gaps = [held_out[0] + 0.5, *(b - a for a, b in pairwise(held_out))]
    gaps.append(len(states) - held_out[-1] - 0.5)
    assert len(held_out) == 5
    # neither end is outside of what is learned from by more than half a gap
    assert max(gaps[1:-1]) - min(gaps[1:-1]) <= 1 and max(gaps[0], gaps[-1]) <= gaps[1] / 2 + 1
    for row, number in zip(zoo.held_out, held_out, strict=True):
        assert zoo.layout.flatten(states[number]).equal(row)


@pytest.mark.parametrize("num_held_out", [2, 3])
def test_too_many_held_out(tmp_path, num_held_out):
    filled(tmp_path / "source", ["a.pt", "b.pt"])
    message = refusal(tmp_path, num_held_out=num_held_out)
    assert "num_held_out" in message
    assert "2 checkpoints" in message
    assert f"cannot hold out {num_held_out} of" in message


def test_sub_folders_are_runs_and_nothing_is_held_out_unasked(tmp_path):
    names = ["run0/a.pt", "run1/a.pt", "run1/b.pt"]
    filled(tmp_path / "source", names)
    zoo = imported(tmp_path)
    assert (zoo.index.hold_out, len(zoo.originals), len(zoo.held_out)) == ("none", 3, 0)


@pytest.mark.parametrize(("num", "rule"), [(1, "tail"), (2, "run"), (3, "run"), (4, "tail")])
def test_so_many_are_held_out_of_several_runs(tmp_path, num, rule):
    names = [f"run0/{i}.pt" for i in range(3)] + ["run1/0.pt", "run2/0.pt", "run2/1.pt"]
    filled(tmp_path / "source", names)
    zoo = imported(tmp_path, num_held_out=num)
    assert (zoo.index.hold_out, len(zoo.held_out)) == (rule, num)
    assert [one.held_out for one in zoo.index.checkpoints] == [False] * (6 - num) + [True] * num


def test_spaced_ones_that_are_whole_runs_are_called_so(tmp_path):
    filled(tmp_path / "source", ["seed0.pt", "seed1.pt", "seed2.pt", "seed3.pt"])
    zoo = imported(tmp_path, num_held_out=2, spaced=True)
    assert (zoo.index.hold_out, len(zoo.held_out)) == ("run", 2)


def test_sub_folders_are_runs_and_the_last_is_held_out(tmp_path):
    names = ["run0/a.pt", "run0/b.pt", "run1/a.pt", "run2/a.pt", "run2/b.safetensors"]
    states = filled(tmp_path / "source", names)
    (tmp_path / "source" / ".cache").mkdir()
    zoo = imported(tmp_path, num_held_out=2)
    assert [entry.run for entry in zoo.index.checkpoints] == [0, 0, 1, 2, 2]
    assert [entry.step for entry in zoo.index.checkpoints] == [0, 1, 0, 0, 1]
    assert [entry.source for entry in zoo.index.checkpoints] == names
    assert zoo.index.hold_out == "run"
    assert zoo.runs.unique().tolist() == [0, 1]
    assert zoo.originals.equal(torch.stack([zoo.layout.flatten(one) for one in states[:3]]))
    assert zoo.held_out.equal(torch.stack([zoo.layout.flatten(one) for one in states[3:]]))


def test_sub_folders_are_in_natural_order(tmp_path):
    names = ["run2/a.pt", "run9/a.pt", "run10/a.pt"]
    filled(tmp_path / "source", names)
    assert [entry.source for entry in imported(tmp_path).index.checkpoints] == names


def test_one_sub_folder_is_one_run_with_a_tail(tmp_path):
    filled(tmp_path / "source", ["run/a.pt", "run/b.pt", "run/c.pt"])
    zoo = imported(tmp_path, num_held_out=1)
    assert zoo.index.hold_out == "tail"
    assert (len(zoo.originals), len(zoo.held_out)) == (2, 1)


def test_files_of_its_own_leave_sub_folders_out(tmp_path):
    filled(tmp_path / "source", ["a.pt", "b.pt", "older/c.pt"])
    assert len(imported(tmp_path).originals) == 2


def test_missing_and_empty_folders_are_refused(tmp_path):
    assert str(tmp_path / "source") in refusal(tmp_path)
    (tmp_path / "source").mkdir()
    assert ".safetensors" in refusal(tmp_path)


def test_steps_are_those_of_training_where_all_are_known(tmp_path):
    filled(tmp_path / "source", ["a/step30.pt", "a/step200.pt", "b/step100.pt"])
    assert [one.step for one in imported(tmp_path).index.checkpoints] == [30, 200, 100]


def test_copies_are_left_out_and_stay_so_when_it_goes_on(tmp_path):
    source = tmp_path / "source"
    states = filled(source, [f"step{i}.pt" for i in range(6)])
    save(source / "best.safetensors", states[5])
    torch.save({"model": states[2], "optimizer": {"lr": 0.1}}, source / "last.ckpt")
    (source / "link.pt").symlink_to("step4.pt")
    found = import_checkpoints(
        [str(source)], tmp_path / "zoo", PATTERNS, num_held_out=1, state_dict_key=None
    )
    zoo = Zoo.load(tmp_path / "zoo")
    assert [one.source for one in zoo.index.checkpoints] == [f"step{i}.pt" for i in range(6)]
    assert zoo.held_out.equal(zoo.layout.flatten(states[5])[None])
    assert any("best.safetensors (as step5.pt)" in note for note in found.notes)
    assert any("last.ckpt (as step2.pt)" in note for note in found.notes)
    assert found.notes[0] == "counts once: link.pt (a link to step4.pt)"
    refuse_changed([str(source)], tmp_path / "zoo")
    torch.save({"model": states[2]}, source / "another.ckpt")
    with pytest.raises(UserError, match="now holds 9 or others"):
        refuse_changed([str(source)], tmp_path / "zoo")


def test_what_is_equal_where_it_is_generated_is_a_copy(tmp_path):
    """Else the generator would learn from what it holds out."""
    source = tmp_path / "source"
    states = filled(source, ["step0.pt", "step1.pt", "step2.pt"])
    save(source / "step3.pt", states[2] | {"2.bias": states[2]["2.bias"] + 1})
    save(tmp_path / "base.pt", states[0])
    zoo = imported(tmp_path, base=tmp_path / "base.pt")
    assert [one.source for one in zoo.index.checkpoints] == ["step0.pt", "step1.pt", "step2.pt"]
    assert zoo.index.duplicates[0].duplicate_of == "step2.pt"
