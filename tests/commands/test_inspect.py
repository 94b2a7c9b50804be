"""What a set of checkpoints is, told before anything is made of it."""

import pytest
import torch
from torch import nn

from paramdiff.commands.inspect import inspect


def trajectory(folder, num=40, moved=("1.weight", "1.bias", "1.num_batches_tracked")):
    """A network whose normalization layer drifts."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = network.state_dict()
    for step in range(num):
        for name in moved:
            change = torch.randn(state[name].shape) if state[name].is_floating_point() else 1
            state[name] = state[name] + change
        torch.save({"state_dict": state}, folder / f"step{step}.pt")
    return folder


def test_a_trajectory_is_told_with_what_would_be_generated(tmp_path):
    found = inspect([str(trajectory(tmp_path / "a"))])
    assert found.facts["Checkpoints"] == "40, from step0.pt to step39.pt"
    assert found.facts["Stored as"] == "torch.save, the state dict under 'state_dict'"
    assert found.facts["Tensors"] == "7 with 33 values; 3 differ"
    assert found.facts["Order"].startswith("one trajectory: successive ones are 0.")
    assert found.facts["Would be generated"] == "8 parameters in 2 tensors: all that differ"
    assert found.facts["Would be copied"].startswith("1.num_batches_tracked")
    assert found.generated == ("1.weight", "1.bias")
    assert found.warnings == ()


def test_independent_checkpoints_are_no_trajectory(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number in range(40):
        torch.save({"a": torch.randn(30, generator=generator)}, tmp_path / f"{number}.pt")
    assert inspect([str(tmp_path)]).facts["Order"].startswith("no trajectory: ")


@pytest.mark.parametrize(("noise", "is_told"), [(None, True), (0.3, False)])
def test_networks_of_independent_runs_are_told(tmp_path, noise, is_told):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 7)).state_dict()
    for number in range(10):
        other = {name: torch.randn(tensor.shape) for name, tensor in first.items()}
        if noise is not None:  # from one trunk
            other = {name: tensor + noise * other[name] / 9 for name, tensor in first.items()}
        torch.save(other, tmp_path / f"{number}.pt")
    warnings = inspect([str(tmp_path)]).warnings
    assert any("in unrelated orders" in warning for warning in warnings) == is_told


def test_what_should_be_looked_at_first_is_told(tmp_path):
    folder = trajectory(tmp_path / "a", num=9)
    content = torch.load(folder / "step3.pt")
    content["state_dict"]["1.weight"][2] = torch.nan
    torch.save(content, folder / "step4.pt")
    torch.save(torch.load(folder / "step1.pt"), folder / "step8.pt")
    found = inspect([str(folder)])
    assert found.warnings == (
        "1.weight holds NaN or infinite values in step4.pt",
        "8 checkpoints are few to learn a distribution from: averages and Gaussian noise need "
        "none of it",
    )
    assert found.notes == (
        "a checkpoint whose tensors equal another's is left out: step8.pt (as step1.pt)",
    )
    assert found.facts["Checkpoints"] == "8, from step0.pt to step7.pt"
    assert found.facts["Order"].startswith("not tested")


def test_equal_checkpoints_have_nothing_to_generate(tmp_path):
    for number in range(2):
        torch.save({"a": torch.ones(3)}, tmp_path / f"{number}.pt")
    found = inspect([str(tmp_path)])
    assert found.facts["Would be generated"].startswith("nothing")
    assert found.generated == ()


@pytest.mark.parametrize("shards", [False, True])
def test_what_libraries_stored_is_told(tmp_path, shards):
    from diffusers import UNet2DModel

    for number in range(2):
        torch.manual_seed(number)
        UNet2DModel(
            sample_size=8,
            block_out_channels=(8,),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
        ).save_pretrained(tmp_path / str(number), max_shard_size="10KB" if shards else "1GB")
    stored = inspect([str(tmp_path)]).facts["Stored as"]
    assert stored.startswith("a folder with ") and stored.endswith("safetensors")
    assert ("1 file " in stored) != shards


def test_what_lies_beside_checkpoints_is_told(tmp_path):
    folder = tmp_path / "out"
    for step in (1, 2, 3):
        file = folder / f"checkpoint-{step}" / "model.pt"
        file.parent.mkdir(parents=True)
        torch.save({"a": torch.full((3,), float(step))}, file)
        torch.save({"last_epoch": step}, folder / f"checkpoint-{step}/scheduler.pt")
    found = inspect([str(folder)])
    assert found.facts["Checkpoints"] == "3, from checkpoint-1/model.pt to checkpoint-3/model.pt"
    assert found.facts["Skipped"] == "scheduler.pt in 3 folders (training state)"


def test_one_checkpoint_is_not_called_equal_to_others(tmp_path):
    folder = trajectory(tmp_path / "a", num=1)
    found = inspect([str(folder)])
    assert found.facts["Checkpoints"] == "1, step0.pt"
    assert found.facts["Would be generated"] == "nothing: it takes several checkpoints"
    assert "Skipped" not in found.facts
    assert any("1 checkpoint is too little" in told for told in found.warnings)


def trained(num, start, seed, drift=0.05):
    """A run of a small network: a walk from its start."""
    torch.manual_seed(seed)
    state = dict(start)
    for _ in range(num):
        state = {name: one + drift * torch.randn_like(one) for name, one in state.items()}
        yield state


def start_of(seed):
    torch.manual_seed(1000 + seed)
    return {
        "a.weight": torch.randn(20, 12),
        "b.weight": torch.randn(5, 20),
        "b.bias": torch.zeros(5),
    }


LAYOUTS = ["run{run}/epoch{step}.pt", "seed{run}_epoch{step}.pt", "run{run}-step{step}0.pt"]


@pytest.mark.parametrize("layout", [*LAYOUTS, "{run}/checkpoint-{step}/model.safetensors"])
@pytest.mark.parametrize("is_related", [False, True])
def test_several_runs_are_called_several_runs(tmp_path, layout, is_related):
    from paramdiff.storage import write_tensors

    for run in range(4):
        start = start_of(0 if is_related else run)
        for step, state in enumerate(trained(12, start, run)):
            path = tmp_path / layout.format(run=run, step=step)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".safetensors":
                write_tensors(path, state)
            else:
                torch.save(state, path)
    found = inspect([str(tmp_path)])
    assert found.facts["Checkpoints"].startswith("48 in 4 runs")
    order = found.facts["Order"]
    assert order.startswith("4 runs, each a trajectory: ") and "one trajectory" not in order
    between = float(order.split("two of different runs are ")[1].split(" ")[0])
    assert (between > 2) != is_related  # a common start, from which each goes its own way
    warned = [one for one in found.warnings if "in unrelated orders" in one]
    assert bool(warned) != is_related
    assert all("the weights of two runs" in one for one in warned)


def test_independent_runs_that_nothing_marks_are_told_by_their_distances(tmp_path):
    for run in range(4):
        for step, state in enumerate(trained(8, start_of(run), run)):
            torch.save(state, tmp_path / f"{8 * run + step:03d}.pt")
    found = inspect([str(tmp_path)])
    order = found.facts["Order"]
    assert order.startswith("not one trajectory: the checkpoints fall into 4 groups")
    assert any("in unrelated orders" in one for one in found.warnings)


def test_a_long_run_far_from_its_start_is_one_trajectory(tmp_path):
    for step, state in enumerate(trained(40, start_of(0), 3, drift=0.5)):
        torch.save(state, tmp_path / f"step{step}.pt")
    found = inspect([str(tmp_path)])
    assert found.facts["Order"].startswith("one trajectory: ")
    assert not any("in unrelated orders" in one for one in found.warnings)


def test_runs_of_one_checkpoint_each(tmp_path):
    for run in range(12):
        torch.save(start_of(run), tmp_path / f"seed{run}.pt")
    found = inspect([str(tmp_path)])
    assert found.facts["Order"] == "12 runs of one checkpoint each: none follows another"
    assert any("in unrelated orders" in one for one in found.warnings)


def test_a_shared_trunk_keeps_units_in_order(tmp_path):
    """Heads of independent runs on a trunk that is equal in all."""
    trunk = start_of(0)
    for run in range(12):
        state = trunk | {"b.weight": start_of(run)["b.weight"]}
        torch.save(state, tmp_path / f"seed{run}.pt")
    warnings = inspect([str(tmp_path)]).warnings
    assert not any("in unrelated orders" in one for one in warnings)
