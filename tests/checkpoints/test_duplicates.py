"""A checkpoint counts once, whatever else its files say."""

import pytest
import torch
from safetensors.torch import save_file

from paramdiff.checkpoints.duplicates import values_sha256, values_sha256_of, without_duplicates
from paramdiff.checkpoints.sources import find_checkpoints


def state(value, dtype=torch.float32, counter=0):
    return {
        "a": torch.full((4, 3), float(value)).to(dtype),
        "gate": torch.tensor(float(value)),
        "n": torch.tensor(counter),
    }


def kept(folder, **options):
    found, copies = without_duplicates(find_checkpoints([str(folder)]), **options)
    return (
        [one.name for one in found.listed],
        {copy.name: copy.duplicate_of for copy in copies},
        found.notes,
    )


def run_of(folder, num=4):
    folder.mkdir(exist_ok=True)
    for step in range(num):
        torch.save({"model": state(step), "epoch": step}, folder / f"epoch={step}.pt")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_in_other_wrappers_and_formats(tmp_path, dtype):
    run_of(tmp_path)
    for step in range(4):
        torch.save(state(step, dtype), tmp_path / f"epoch={step}.pt")
    torch.save({"state_dict": state(2, dtype), "optimizer": {"state": {}}}, tmp_path / "best.ckpt")
    torch.save({"module." + name: one for name, one in state(3, dtype).items()}, tmp_path / "z.pt")
    save_file(state(1, dtype, counter=7), tmp_path / "epoch=1.safetensors")
    names, copies, notes = kept(tmp_path)
    assert names == [f"epoch={step}.pt" for step in range(4)]
    assert copies == {
        "epoch=1.safetensors": "epoch=1.pt",
        "best.ckpt": "epoch=2.pt",
        "z.pt": "epoch=3.pt",
    }
    assert notes == (
        "3 checkpoints whose tensors equal another's are left out: epoch=1.safetensors (as "
        "epoch=1.pt), best.ckpt (as epoch=2.pt), z.pt (as epoch=3.pt)",
    )


def test_the_format_that_most_have_stays(tmp_path):
    for step in range(3):
        save_file(state(step), tmp_path / f"step{step}.safetensors")
    torch.save(state(1), tmp_path / "step1.bin")
    names, copies, _ = kept(tmp_path)
    assert copies == {"step1.bin": "step1.safetensors"} and len(names) == 3


def test_best_is_never_the_first(tmp_path):
    run_of(tmp_path)
    torch.save(state(1), tmp_path / "best.pt")
    torch.save(state(2), tmp_path / "a_last.pt")
    assert kept(tmp_path)[0][0] == "epoch=0.pt"


def test_copies_in_another_run_count_once(tmp_path):
    for run in "ab":
        run_of(tmp_path / run, 3)
        torch.save(state(90 + ord(run)), tmp_path / run / "epoch=3.pt")
    names, copies, _ = kept(tmp_path)
    assert names == [f"a/epoch={step}.pt" for step in range(4)] + ["b/epoch=3.pt"]
    assert set(copies) == {f"b/epoch={step}.pt" for step in range(3)}


def test_one_value_that_differs_is_no_copy_and_a_counter_is(tmp_path):
    run_of(tmp_path, 2)
    torch.save(state(1) | {"gate": torch.tensor(0.5)}, tmp_path / "epoch=7.pt")
    torch.save(state(1, counter=9), tmp_path / "epoch=9.pt")
    names, copies, _ = kept(tmp_path)
    assert names == ["epoch=0.pt", "epoch=1.pt", "epoch=7.pt"]
    assert copies == {"epoch=9.pt": "epoch=1.pt"}
    assert kept(tmp_path, names=["a"])[1] == {
        "epoch=7.pt": "epoch=1.pt",
        "epoch=9.pt": "epoch=1.pt",
    }


def test_a_single_integer_that_says_how_others_are_read_is_no_counter(tmp_path):
    for step, zero_point in enumerate((3, 4)):
        torch.save(state(1) | {"fc.zero_point": torch.tensor(zero_point)}, tmp_path / f"{step}.pt")
    assert kept(tmp_path)[1] == {}


def test_a_file_that_changes_is_read_again(tmp_path):
    import os

    run_of(tmp_path, 2)
    assert kept(tmp_path)[1] == {}
    torch.save(state(0), tmp_path / "epoch=1.pt")
    os.utime(tmp_path / "epoch=1.pt", (9e9, 9e9))
    assert kept(tmp_path)[1] == {"epoch=1.pt": "epoch=0.pt"}


def test_values_have_one_hash_wherever_they_lie(tmp_path):
    run_of(tmp_path)
    (stored, *_) = find_checkpoints([str(tmp_path)]).listed
    chosen = {name: state(0)[name] for name in ("gate", "a")}
    assert values_sha256_of(stored, ["a", "gate"]) == values_sha256(chosen)
    assert values_sha256_of(stored, ["a"]) != values_sha256(chosen)
    assert values_sha256_of(stored, ["a", "nothing"]) is None
    # equal bytes under other names, types or shapes are other values
    one = torch.zeros(4)
    others = [{"b": one}, {"a": one.reshape(2, 2)}, {"a": one.int()}]
    assert len({values_sha256(tensors) for tensors in [{"a": one}, *others]}) == 4
