"""The zoo on disk: what is written is what is read, and nothing else is accepted."""

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.zoo.zoo import Zoo, write_zoo

BASE = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "a.bias": torch.ones(3, dtype=torch.bfloat16),
    "frozen": torch.full((2,), 0.1),
    "count": torch.tensor(7),
}
LAYOUT = ParameterLayout.of(BASE, ["a.weight", "a.bias"])


def vectors(num, dtype=torch.float32):
    """Values that bfloat16 holds too, so that every tensor comes back exactly."""
    return torch.randint(-50, 50, (num, LAYOUT.num_parameters)).to(dtype) / 8


def written(folder, num=5, held_out=(3, 4), layout=LAYOUT, base=BASE, dtype=torch.float32):
    rows = vectors(num, dtype)
    entries = [
        {"step": 10 + i, "seed": 3, "run": i // 3, "held_out": i in held_out} for i in range(num)
    ]
    write_zoo(folder, list(rows), entries, layout, base, "run")
    return rows


def refusal(folder):
    with pytest.raises(UserError) as caught:
        Zoo.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert len(message.splitlines()) == 1
    return message


def edit(folder, change):
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


def test_write_and_load(tmp_path):
    rows = written(tmp_path / "zoo")
    zoo = Zoo.load(tmp_path / "zoo")
    assert zoo.originals.equal(rows[:3])
    assert zoo.held_out.equal(rows[3:])
    assert zoo.layout == LAYOUT
    assert zoo.base.keys() == BASE.keys()
    for name, tensor in BASE.items():
        assert zoo.base[name].dtype == tensor.dtype
        assert zoo.base[name].equal(tensor)
    assert [entry.step for entry in zoo.index.checkpoints] == [10, 11, 12, 13, 14]
    assert zoo.index.hold_out == "run"


def test_checkpoints_hold_the_selected_tensors_in_their_own_types(tmp_path):
    rows = written(tmp_path / "zoo")
    files = sorted((tmp_path / "zoo" / "checkpoints").iterdir())
    assert len(files) == 5
    for file, row in zip(files, rows, strict=True):
        found = load_file(file)
        assert {name: tensor.dtype for name, tensor in found.items()} == {
            "a.weight": torch.float32,
            "a.bias": torch.bfloat16,
        }
        assert LAYOUT.flatten(found).equal(row)


def test_held_out_need_not_come_last(tmp_path):
    rows = written(tmp_path / "zoo", held_out=(0, 2))
    zoo = Zoo.load(tmp_path / "zoo")
    assert zoo.originals.equal(rows[[1, 3, 4]])
    assert zoo.held_out.equal(rows[[0, 2]])


@pytest.mark.parametrize("double", [False, True])
def test_memory_mapped_equals_in_memory(tmp_path, double):
    dtype = torch.float64 if double else torch.float32
    base = {**BASE, "a.weight": BASE["a.weight"].to(dtype)}
    layout = ParameterLayout.of(base, LAYOUT.names)
    rows = written(tmp_path / "zoo", layout=layout, base=base, dtype=dtype)
    mapped = Zoo.load(tmp_path / "zoo", memory_budget=1)
    inside = Zoo.load(tmp_path / "zoo")
    assert mapped.originals.dtype == inside.originals.dtype == dtype
    assert mapped.originals.equal(inside.originals)
    assert mapped.held_out.equal(inside.held_out)
    assert mapped.originals.equal(rows[:3])
    again = Zoo.load(tmp_path / "zoo", memory_budget=1)
    assert again.originals.equal(rows[:3])


@pytest.mark.parametrize(("held_out", "num_runs"), [((3, 4), 1), ((0,), 2)])
def test_the_originals_runs_are_counted(tmp_path, held_out, num_runs):
    written(tmp_path / "zoo", held_out=held_out)  # checkpoints 0 to 2 are run 0, the others run 1
    zoo = Zoo.load(tmp_path / "zoo")
    assert len(zoo.runs.unique()) == num_runs
    assert zoo.held_out_runs.tolist() == [1 if number > 2 else 0 for number in held_out]


def test_a_changed_checkpoint_is_detected(tmp_path):
    written(tmp_path / "zoo")
    file = tmp_path / "zoo" / "checkpoints" / "0001.safetensors"
    tensors = load_file(file)
    tensors["a.weight"][0, 0] += 1
    save_file(tensors, file)
    assert "0001.safetensors" in refusal(tmp_path / "zoo")
    assert "changed" in refusal(tmp_path / "zoo")


def test_exchanged_checkpoints_are_detected(tmp_path):
    written(tmp_path / "zoo")
    folder = tmp_path / "zoo" / "checkpoints"
    (folder / "0000.safetensors").replace(folder / "x")
    (folder / "0001.safetensors").replace(folder / "0000.safetensors")
    (folder / "x").replace(folder / "0001.safetensors")
    assert "0000.safetensors" in refusal(tmp_path / "zoo")


@pytest.mark.parametrize(
    "file", ["checkpoints/0004.safetensors", "base.safetensors", "index.json"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_missing_and_truncated_files_are_named(tmp_path, file, damage):
    written(tmp_path / "zoo")
    path = tmp_path / "zoo" / file
    data = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    assert file in refusal(tmp_path / "zoo")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda index: index.update(hold_out="sometimes"), "hold_out"),
        (lambda index: index.update(schema_version=3), "schema_version"),
        (lambda index: index.update(color="red"), "color"),
        (lambda index: index.pop("layout"), "layout"),
        (lambda index: index["layout"][1].pop(), "layout.1.2"),
        (lambda index: index["checkpoints"][2].update(step="soon"), "checkpoints.2.step"),
        (lambda index: index["checkpoints"][4].pop("file"), "checkpoints.4.file"),
    ],
)
def test_a_broken_index_names_the_field(tmp_path, change, where):
    written(tmp_path / "zoo")
    edit(tmp_path / "zoo", change)
    assert f"index.json: {where}: " in refusal(tmp_path / "zoo")


def test_an_index_of_an_earlier_version_is_refused_as_one(tmp_path):
    written(tmp_path / "zoo")
    edit(tmp_path / "zoo", lambda index: index.update(schema_version=1))
    assert "index.json: written by an earlier version" in refusal(tmp_path / "zoo")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["layout"][0].__setitem__(2, "int8"),
        lambda index: index.update(layout=[]),
    ],
)
def test_a_broken_layout_is_told(tmp_path, change):
    written(tmp_path / "zoo")
    edit(tmp_path / "zoo", change)
    assert "layout" in refusal(tmp_path / "zoo")


def test_a_checkpoint_that_does_not_fit_the_layout_is_named(tmp_path):
    written(tmp_path / "zoo")
    edit(tmp_path / "zoo", lambda index: index["layout"][0].__setitem__(1, [3, 2]))
    message = refusal(tmp_path / "zoo")
    assert "0000.safetensors: tensor 'a.weight' has shape [2, 3], not [3, 2]" in message


@pytest.mark.parametrize("num", [0, 2])
def test_a_zoo_without_originals_is_refused(tmp_path, num):
    written(tmp_path / "zoo", num=num, held_out=range(num))
    assert "has no checkpoints" in refusal(tmp_path / "zoo")


def test_a_zoo_appears_whole_or_not_at_all(tmp_path):
    entries = [{"step": 0}, {"step": 1, "color": "red"}]
    with pytest.raises(ValidationError):
        write_zoo(tmp_path / "zoo", list(vectors(2)), entries, LAYOUT, BASE, "none")
    assert list(tmp_path.iterdir()) == []


def test_the_first_originals(tmp_path):
    rows = written(tmp_path / "zoo", num=6, held_out=(1, 5))
    zoo = Zoo.load(tmp_path / "zoo")
    assert zoo.first(None) is zoo and zoo.first(4) is zoo
    few = zoo.first(2)
    assert few.originals.equal(rows[[0, 2]]) and few.held_out.equal(rows[[1, 5]])
    steps = [entry.step for entry in few.index.checkpoints if not entry.held_out]
    assert steps == [10, 12]
    assert [len(one.runs.unique()) for one in (few, zoo)] == [1, 2]
    with pytest.warns(UserWarning, match="with a single checkpoint, only copies"):
        assert zoo.first(1).originals.equal(rows[[0]])
    with pytest.raises(UserError, match=r"num_checkpoints: the zoo has 4 originals, fewer than 5"):
        zoo.first(5)


START = [{"step": 1, "seed": 0}, {"step": 2, "seed": 0}, {"step": 5, "seed": 0, "held_out": True}]


@pytest.mark.parametrize(
    ("changed", "base_source", "is_known"),
    [
        *(({}, None, True), ({"seed": 7}, None, False), ({"source": "a.pt"}, None, False)),
        ({"source": "a.pt"}, "base.pt", True),
    ],
)
def test_the_start_is_known_of_collections_with_one_and_of_a_base(
    tmp_path, changed, base_source, is_known
):
    entries = [START[0], START[1] | changed, START[2]]
    folder = tmp_path / "zoo"
    write_zoo(folder, list(vectors(3)), entries, LAYOUT, BASE, "tail", base_source=base_source)
    zoo = Zoo.load(folder)
    assert zoo.steps.tolist() == [1, 2]
    if is_known:
        assert zoo.start.equal(LAYOUT.flatten(BASE))
    else:
        assert zoo.start is None


def test_a_base_that_lacks_tensors_is_no_start(tmp_path):
    base = {name: one for name, one in BASE.items() if name != LAYOUT.names[0]}
    write_zoo(tmp_path / "zoo", list(vectors(3)), START, LAYOUT, base, "tail", base_source="b.pt")
    assert Zoo.load(tmp_path / "zoo").start is None
