"""Training order comes from steps and epochs, never from how files were listed or named first."""

import json
import random

import pytest
import torch
from safetensors.torch import save_file

from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.checkpoints.training_step import named_numbers, stored_number


def saved(path, value=0.0, **beside):
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"a": torch.full((3,), float(value))}
    if path.suffix == ".safetensors":
        save_file(tensors, path, beside.get("metadata"))
    else:
        torch.save({"state_dict": tensors, **beside} if beside else tensors, path)
    return path


def shuffled(paths):
    paths = list(map(str, paths))
    random.Random(0).shuffle(paths)
    return paths


def names(sources):
    return [[stored.name for stored in run] for run in find_checkpoints(list(sources)).runs]


@pytest.mark.parametrize(
    ("label", "epoch", "step"),
    [
        ("epoch=9-step=40-val_loss=0.12.ckpt", 9, 40),
        ("step-000100.pt", None, 100),
        ("step1e3.pt", None, 1000),
        ("step_10k.safetensors", None, 10000),
        ("100_steps.pt", None, 100),
        ("3epochs.bin", 3, None),
        ("net-epoch-12-acc-0.913.pth.tar", 12, None),
        ("globalStep_30.pt", None, 30),
        ("ckpt_ep7_it350_top90.pth", 7, 350),
        ("model_0.95.pt", None, None),
        ("checkpoint-500", None, None),
        ("seed3.pt", None, None),
        ("last.ckpt", None, None),
    ],
)
def test_numbers_in_names(label, epoch, step):
    found = named_numbers(label)
    assert (found.epoch, found.step) == (epoch, step)


@pytest.mark.parametrize(
    "order",
    [
        [f"epoch={i}.pt" for i in (0, 9, 10, 11, 100)],
        ["1.pt", "20.pt", "1e3.pt"],
        ["step-000100.pt", "step-001000.pt", "step-2000.pt"],
        [
            f"epoch={i}-step={4 * i}-val_loss={v}.ckpt"
            for i, v in ((9, 0.5), (10, 0.12), (11, 0.3))
        ],
        ["acc0.99_iter10.pt", "acc0.5_iter20.pt", "acc0.7_iter100.pt"],
        ["10ep.pth.tar.pt", "20ep.pth.tar.pt", "100ep.pth.tar.pt"],
        ["step500.pt", "step_1k.pt", "step_10k.pt"],
        ["2024-01-05_09-30.pt", "2024-01-05_12-00.pt", "2024-02-01_00-00.pt"],
    ],
)
def test_one_run_in_whatever_order_it_is_given(tmp_path, order):
    paths = [saved(tmp_path / name, i) for i, name in enumerate(order)]
    given = shuffled(paths)
    assert names([str(tmp_path)]) == names([f"{tmp_path}/*"]) == names(given) == [order]
    (note,) = find_checkpoints(given).notes
    assert note.startswith("the checkpoints are in training order")
    assert find_checkpoints(map(str, paths) and list(map(str, paths))).notes == ()


def test_folders_of_steps_are_one_run_however_they_are_named(tmp_path):
    steps = (0, 20, 100, 1000)
    for step in steps:
        saved(tmp_path / f"run/checkpoint-{step}/model.safetensors", step)
    for sources in (
        [f"{tmp_path}/run/*/model.safetensors"],
        shuffled(tmp_path.glob("run/*/model.safetensors")),
        shuffled(tmp_path.glob("run/*")),
        [str(tmp_path / "run")],
    ):
        (run,) = find_checkpoints(sources).runs
        assert [float(one.read()[0]["a"][0]) for one in run] == list(steps)
        assert len({one.name for one in run}) == len(steps)


def test_runs_are_never_mixed(tmp_path):
    for run in (1, 2, 10):
        for epoch in (2, 10):
            saved(tmp_path / f"s{run}/epoch={epoch}.pt", 100 * run + epoch)
    order = [[f"s{run}/epoch={epoch}.pt" for epoch in (2, 10)] for run in (1, 2, 10)]
    for sources in (
        [str(tmp_path)],
        [f"{tmp_path}/*/*.pt"],
        shuffled(tmp_path.glob("*/*.pt")),
    ):
        assert names(sources) == order


def test_lengths_of_training_in_names_of_folders_are_no_steps(tmp_path):
    for length in (20, 100):
        for epoch in (2, 10):
            saved(tmp_path / f"epochs{length}/epoch{epoch}.pt", length + epoch)
    order = [[f"epochs{length}/epoch{epoch}.pt" for epoch in (2, 10)] for length in (20, 100)]
    assert names([str(tmp_path)]) == names(shuffled(tmp_path.glob("*/*.pt"))) == order


def test_what_folders_of_steps_are_called_otherwise_is_one_run(tmp_path):
    for step in (5, 20, 100):
        saved(tmp_path / f"net_step_{step}/weights.pt", step)
    order = [[f"net_step_{step}/weights.pt" for step in (5, 20, 100)]]
    assert names([str(tmp_path)]) == names(shuffled(tmp_path.glob("*/*.pt"))) == order


def test_a_final_model_that_is_named_joins_the_run_below_it(tmp_path):
    for step in (20, 100):
        saved(tmp_path / f"checkpoint-{step}/model.safetensors", step)
    root = saved(tmp_path / "model.safetensors", 999)
    (tmp_path / "config.json").write_text("{}")
    found = find_checkpoints([str(tmp_path)])
    assert [stored.name for stored in found.listed] == ["checkpoint-20", "checkpoint-100"]
    assert "the model at the root" in found.skipped[0]
    for sources in ([tmp_path, root], [root, tmp_path], [*tmp_path.glob("check*"), root]):
        found = find_checkpoints(list(map(str, sources)))
        (run,) = found.runs
        assert [float(one.read()[0]["a"][0]) for one in run] == [20, 100, 999]
        assert not found.skipped
        assert "the training step of model.safetensors is unknown" in found.notes[-1]


def test_versions_of_a_logger_are_runs(tmp_path):
    for version in (0, 1):
        for epoch in (3, 12):
            place = f"logs/version_{version}/checkpoints/epoch={epoch}-step={10 * epoch}.ckpt"
            saved(tmp_path / place, epoch)
        (tmp_path / f"logs/version_{version}/hparams.yaml").touch()
    assert names([str(tmp_path / "logs")]) == [
        [f"version_{v}/checkpoints/epoch={e}-step={10 * e}.ckpt" for e in (3, 12)] for v in (0, 1)
    ]


@pytest.mark.parametrize(
    ("files", "num_runs"),
    [
        ([f"seed{s}_epoch{e}.pt" for s in (0, 1, 10) for e in (1, 2, 10)], 3),
        ([f"run{s}-step{e}.pt" for s in (0, 1) for e in (1, 2, 10)], 2),
        ([f"model{s}_epoch_{e}.safetensors" for s in (0, 1) for e in (1, 2, 10)], 2),
        ([f"epoch{e}_{who}.pt" for who in ("alice", "bob") for e in (1, 2, 10)], 2),
        ([f"lr={lr}_epoch={e}.pt" for lr in (0.01, 0.1) for e in (1, 2, 10)], 2),
        ([f"seed{s}.pt" for s in (0, 1, 10)], 3),
        # what one run saves side by side
        ([f"resnet18_epoch{e}.pt" for e in (1, 2, 10)], 1),
        (["epoch1.pt", "epoch2.pt", "epoch2_b.pt", "epoch10.pt"], 1),
        ([f"{kind}step{e}.pt" for kind in ("", "ema_") for e in (1, 2, 10)], 1),
        ([f"epoch={e}-val_loss={v}.ckpt" for e, v in ((1, 0.9), (2, 0.5), (10, 0.1))], 1),
    ],
)
def test_runs_that_lie_in_one_folder(tmp_path, files, num_runs):
    for number, name in enumerate(files):
        saved(tmp_path / name, number)
    found = names([str(tmp_path)])
    assert len(found) == num_runs
    if num_runs > 1:
        assert [name for run in found for name in run] == files


@pytest.mark.parametrize("key", ["epoch", "global_step", "step", "iteration"])
def test_the_content_says_when_names_do_not(tmp_path, key):
    for name, number in (("c", 3), ("a", 20), ("b", 100)):
        saved(tmp_path / f"{name}.ckpt", number, **{key: number})
    assert names([str(tmp_path)]) == [["c.ckpt", "a.ckpt", "b.ckpt"]]
    assert find_checkpoints([str(tmp_path)]).notes == ()


@pytest.mark.parametrize(
    "metadata", [{"step": "{}"}, {"ss_steps": "{}"}, {"run": '{{"epoch": {}}}'}]
)
def test_the_header_of_a_file_says_it(tmp_path, metadata):
    for name, number in (("c", 3), ("a", 20), ("b", 100)):
        told = {key: value.format(number) for key, value in metadata.items()}
        saved(tmp_path / f"{name}.safetensors", number, metadata=told)
    assert names([str(tmp_path)]) == [["c.safetensors", "a.safetensors", "b.safetensors"]]


def test_the_state_of_a_trainer_says_it(tmp_path):
    for name, number in (("3fa9c", 3), ("0b1d2e3", 20), ("77aa88b", 100)):
        saved(tmp_path / name / "model.safetensors", number)
        (tmp_path / name / "trainer_state.json").write_text(json.dumps({"global_step": number}))
    assert names([str(tmp_path)]) == [["3fa9c", "0b1d2e3", "77aa88b"]]
    (run,) = find_checkpoints([f"{tmp_path}/*/model.safetensors"]).runs
    assert [float(one.read()[0]["a"][0]) for one in run] == [3, 20, 100]


def test_last_best_and_final_stand_where_their_content_says(tmp_path):
    for epoch in (0, 1, 2, 10):  # saved after the epoch that the name counts from 0
        saved(tmp_path / f"epoch={epoch}.ckpt", epoch, epoch=epoch + 1)
    saved(tmp_path / "best.ckpt", 50, epoch=2.5)
    saved(tmp_path / "final.pt", 51, epoch=12)
    assert names([str(tmp_path)]) == [
        ["epoch=0.ckpt", "epoch=1.ckpt", "best.ckpt", "epoch=2.ckpt", "epoch=10.ckpt", "final.pt"]
    ]


def test_what_nothing_tells_stands_last_and_is_told(tmp_path):
    for epoch in (1, 9, 10):
        saved(tmp_path / f"epoch={epoch}.pt", epoch)
    saved(tmp_path / "best.pt", 50)
    saved(tmp_path / "init.pt", 51)
    found = find_checkpoints([str(tmp_path)])
    order = ["init.pt", "epoch=1.pt", "epoch=9.pt", "epoch=10.pt", "best.pt"]
    assert [stored.name for stored in found.listed] == order
    assert found.notes == (
        "the training step of init.pt, best.pt is unknown: placed first or last in its run",
    )


def test_scores_in_names_are_no_steps(tmp_path):
    for score in ("0.9", "0.85", "0.905"):
        saved(tmp_path / f"model_{score}.pt", float(score))
    found = find_checkpoints([str(tmp_path)])
    order = ["model_0.85.pt", "model_0.9.pt", "model_0.905.pt"]
    assert [stored.name for stored in found.listed] == order
    assert "the training order of" in found.notes[0]
    for step, score in enumerate(("0.9", "0.85", "0.905")):
        saved(tmp_path / f"model_{score}.pt", float(score), step=step)
    found = find_checkpoints([str(tmp_path)])
    assert [stored.step for stored in found.listed] == [0, 1, 2]
    assert found.listed[0].name == "model_0.9.pt" and found.notes == ()


def test_damaged_files_and_odd_numbers_tell_nothing(tmp_path):
    saved(tmp_path / "a.pt", 1, epoch="many", step=-3, global_step=float("nan"))
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04 nothing")
    for name in ("a.pt", "b.pt", "none.pt"):
        assert stored_number(tmp_path / name, "epoch") is None
        assert stored_number(tmp_path / name, "step") is None


def test_a_file_that_is_named_twice_or_linked_counts_once(tmp_path):
    first = saved(tmp_path / "ck/epoch=1.pt", 1)
    saved(tmp_path / "ck/epoch=2.pt", 2)
    (tmp_path / "ck/last.pt").symlink_to("epoch=2.pt")
    (tmp_path / "again").symlink_to("ck")
    found = find_checkpoints([str(tmp_path / "ck"), str(first), f"{tmp_path}/again/*.pt"])
    assert len(found.listed) == 2
    assert "last.pt (a link to epoch=2.pt)" in found.notes[0]
