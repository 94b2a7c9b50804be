"""What a generator saw is known by hashes, or not at all."""

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.storage import write_json
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.learned_from import (
    LEARNED_FROM_FILE,
    LearnedFrom,
    is_held_out_new,
    learned_from,
)
from paramdiff.zoo.zoo import read_index


def checkpoints(folder, names, first=0):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(first + number)
        torch.save({"a": torch.randn(6, generator=generator), "b": torch.ones(3)}, path)
    return folder


def known_of(folder, zoo, **options):
    import_checkpoints([str(folder)], zoo, ("a",), **options)
    return LearnedFrom.of(read_index(zoo))


def held_out(zoo):
    return [entry.source for entry in read_index(zoo).checkpoints if entry.held_out]


def test_the_hold_out_of_a_generator_is_found_again_in_other_files(tmp_path):
    folder = checkpoints(tmp_path / "a", [f"step{i}.pt" for i in range(8)])
    known = known_of(folder, tmp_path / "zoo", num_held_out=2, spaced=True)
    assert (len(known.trained), len(known.held_out), known.hold_out) == (6, 2, "spaced")
    for number in range(8):  # in another wrapper, under another name
        content = torch.load(folder / f"step{number}.pt")
        (tmp_path / "b").mkdir(exist_ok=True)
        torch.save({"model": content}, tmp_path / "b" / f"{number}.ckpt")
    found = import_checkpoints(
        [str(tmp_path / "b")], tmp_path / "other", ("*",), num_held_out=None, known=known
    )
    assert held_out(tmp_path / "zoo") == ["step2.pt", "step6.pt"]
    assert held_out(tmp_path / "other") == ["2.ckpt", "6.ckpt"]
    assert read_index(tmp_path / "other").hold_out == "spaced"
    assert found.is_held_out_new and found.notes == ()


def test_the_hold_out_is_found_again_where_tensors_are_tied_or_of_another_kind(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(8):
        torch.manual_seed(number)
        tied = torch.randn(4, 3)
        state = {"in": tied, "gate": torch.randn(1), "z": torch.randn(3, dtype=torch.complex64)}
        torch.save(state | {"out": tied}, tmp_path / "a" / f"step{number}.pt")
    import_checkpoints(
        [str(tmp_path / "a")], tmp_path / "zoo", ("*",), num_held_out=2, spaced=True
    )
    assert read_index(tmp_path / "zoo").ties == [("out", "in")]
    known = LearnedFrom.of(read_index(tmp_path / "zoo"))
    found = import_checkpoints(
        [str(tmp_path / "a")], tmp_path / "other", ("*",), num_held_out=None, known=known
    )
    assert held_out(tmp_path / "other") == held_out(tmp_path / "zoo") == ["step2.pt", "step6.pt"]
    assert found.is_held_out_new
    assert is_held_out_new(read_index(tmp_path / "zoo"), known)


def test_nothing_is_held_out_where_nothing_is_known(tmp_path):
    folder = checkpoints(tmp_path / "a", ["r0/1.pt", "r0/2.pt", "r1/1.pt", "r1/2.pt"])
    found = import_checkpoints([str(folder)], tmp_path / "zoo", ("*",), num_held_out=None)
    assert held_out(tmp_path / "zoo") == [] and not found.is_held_out_new
    found = import_checkpoints([str(folder)], tmp_path / "more", ("*",), num_held_out=1)
    assert held_out(tmp_path / "more") == ["r1/2.pt"] and not found.is_held_out_new


def test_what_trained_cannot_be_held_out(tmp_path):
    folder = checkpoints(tmp_path / "a", [f"step{i}.pt" for i in range(8)])
    known = known_of(folder, tmp_path / "zoo", num_held_out=2, spaced=True)
    given = {"known": known, "num_held_out": 2}
    with pytest.raises(
        UserError, match=r"step7\.pt trained the generator, as hashes show"
    ) as told:
        import_checkpoints([str(folder)], tmp_path / "no", ("*",), **given)
    assert "to hold out the 2 that the generator held out" in str(told.value)
    assert not (tmp_path / "no").exists()
    checkpoints(folder, ["step8.pt", "step9.pt"], first=50)  # saved after the generator was made
    found = import_checkpoints([str(folder)], tmp_path / "yes", ("*",), **given)
    assert held_out(tmp_path / "yes") == ["step8.pt", "step9.pt"] and found.is_held_out_new


def test_strangers_and_originals_without_what_is_generated_are_told(tmp_path):
    folder = checkpoints(tmp_path / "a", [f"step{i}.pt" for i in range(8)])
    known = known_of(folder, tmp_path / "zoo", num_held_out=2, spaced=True)
    checkpoints(folder, ["step8.pt"], first=50)
    found = import_checkpoints(
        [str(folder)], tmp_path / "one", ("*",), num_held_out=None, known=known
    )
    assert found.notes == (
        "1 of 9 originals neither trained the generator nor were held out by it: step8.pt",
    )
    for number in range(3):
        (tmp_path / "c").mkdir(exist_ok=True)
        torch.save({"b": torch.rand(3)}, tmp_path / "c" / f"{number}.pt")
    found = import_checkpoints(
        [str(tmp_path / "c")], tmp_path / "two", ("*",), num_held_out=None, known=known
    )
    assert "trained on are unknown" in found.notes[0]
    assert not found.is_held_out_new and held_out(tmp_path / "two") == []


def test_several_generators_are_taken_together(tmp_path):
    def written(folder, **fields):
        content = {"tensors": ["a"], "trained": ["1", "2"], "held_out": ["3"], "hold_out": "tail"}
        (tmp_path / folder).mkdir()
        LearnedFrom(**(content | fields)).write(tmp_path / folder)
        return tmp_path / folder

    one, other = written("one"), written("other", trained=["1", "3"], held_out=["2", "4"])
    both = learned_from([one, other])
    assert (set(both.trained), both.held_out) == ({"1", "2", "3"}, ())
    assert learned_from([one]).held_out == ("3",)
    assert learned_from([one, written("third", tensors=["b"])]) is None
    (tmp_path / "none").mkdir()
    assert learned_from([one, tmp_path / "none"]) is None
    odd = written("odd", trained=["1", "3"])  # of a stranger, who contradicts himself
    assert learned_from([odd]).held_out == ()


@pytest.mark.parametrize("content", [[], {"tensors": ["a"]}, {"tensors": [], "trained": 3}])
def test_another_file_of_that_name_is_refused(tmp_path, content):
    write_json(tmp_path / LEARNED_FROM_FILE, content)
    with pytest.raises(UserError, match=LEARNED_FROM_FILE) as told:
        LearnedFrom.read(tmp_path)
    assert len(str(told.value).splitlines()) == 1


def test_new_is_said_only_where_hashes_prove_it(tmp_path):
    folder = checkpoints(tmp_path / "a", [f"step{i}.pt" for i in range(8)])
    known = known_of(folder, tmp_path / "zoo", num_held_out=2)
    index = read_index(tmp_path / "zoo")
    assert is_held_out_new(index, known)
    assert not is_held_out_new(index, None)
    seen = known.model_copy(update={"trained": known.trained + known.held_out[:1]})
    assert not is_held_out_new(index, seen)
    assert not is_held_out_new(index, known.model_copy(update={"tensors": ("b",)}))
    import_checkpoints([str(folder)], tmp_path / "all", ("a",))
    assert not is_held_out_new(read_index(tmp_path / "all"), known)
