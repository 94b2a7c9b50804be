"""What a zoo tells a denoiser about each of its checkpoints."""

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.storage import write_json
from paramdiff.zoo.metadata import zoo_conditions
from paramdiff.zoo.zoo import Zoo, write_zoo

BASE = {"w": torch.zeros(3)}
LAYOUT = ParameterLayout.of(BASE, ["w"])
SCORES = [0.7, 0.9, 0.8, 0.6, 0.75]


def zoo_of(folder, held_out=(1,), runs=(0, 0, 1, 1, 2), sources=None, **changed):
    """Five checkpoints whose scores do not lie in the order of the index."""
    entries = [
        {"step": 10 * i, "run": run, "held_out": i in held_out, **changed}
        | ({} if sources is None else {"source": sources[i]})
        for i, run in enumerate(runs)
    ]
    write_zoo(folder, list(torch.randn(5, 3)), entries, LAYOUT, BASE, "spaced")
    zoo = Zoo.load(folder)
    files = [entry.file for entry in zoo.index.checkpoints]
    scores = dict(zip(files, SCORES, strict=True))
    write_json(folder / "scores.json", {"num_validation": 10, "score": scores})
    return zoo


def test_each_checkpoint_has_its_own_values(tmp_path):
    zoo = zoo_of(tmp_path / "zoo")
    found = zoo_conditions(["step", "score", "run"], zoo, tmp_path / "zoo")
    rows = [{"step": 10 * i, "score": SCORES[i], "run": run} for i, run in enumerate("00112")]
    encoded = torch.stack([found.conditions.encode(row) for row in rows])
    assert torch.equal(found.originals, encoded[[0, 2, 3, 4]])
    assert torch.equal(found.held_out, encoded[[1]])
    step, score, run = found.conditions.known
    assert (step.low, step.high, score.low, score.high) == (0, 40, 0.6, 0.8)
    assert run.labels == ("0", "1", "2")


def test_only_the_first_originals_count_where_a_recipe_says_so(tmp_path):
    zoo = zoo_of(tmp_path / "zoo").first(2)
    found = zoo_conditions(["score"], zoo, tmp_path / "zoo")
    assert (found.conditions.known[0].low, found.conditions.known[0].high) == (0.7, 0.8)
    assert (len(found.originals), len(found.held_out)) == (2, 1)


def test_a_held_out_run_is_left_open(tmp_path):
    zoo = zoo_of(tmp_path / "zoo", held_out=(4,))
    found = zoo_conditions(["run", "step"], zoo, tmp_path / "zoo")
    assert found.conditions.known[0].labels == ("0", "1")
    assert (found.held_out[0, :2] == 0).all() and found.held_out[0, 2] == 1


@pytest.mark.parametrize(
    ("sources", "labels"),
    [
        (
            ["cats/1.pt", "cats/2.pt", "dogs/1.pt", "dogs/2.pt", "both/1.pt"],
            ("cats", "dogs", "both"),
        ),
        (["a/1.pt", "a/2.pt", "a/3.pt", "a/4.pt", "b/1.pt"], ("0", "1", "2")),  # two runs in a
        (["1.pt", "2.pt", "b/1.pt", "b/2.pt", "c/1.pt"], ("0", "1", "2")),
    ],
)
def test_runs_are_called_by_their_folders_where_each_has_one(tmp_path, sources, labels):
    zoo = zoo_of(tmp_path / "zoo", sources=sources)
    (run,) = zoo_conditions(["run"], zoo, tmp_path / "zoo").conditions.known
    assert run.labels == labels


def test_what_is_not_known_is_refused(tmp_path):
    zoo = zoo_of(tmp_path / "zoo", step=None)
    with pytest.raises(UserError, match=r"checkpoints/0000.safetensors has no step"):
        zoo_conditions(["step"], zoo, tmp_path / "zoo")
    (tmp_path / "zoo" / "scores.json").unlink()
    with pytest.raises(UserError, match=r"scores\.json"):
        zoo_conditions(["score"], zoo, tmp_path / "zoo")


def test_without_names_there_are_no_conditions(tmp_path):
    found = zoo_conditions([], zoo_of(tmp_path / "zoo"), tmp_path / "zoo")
    assert found.conditions.known == ()
    assert (found.originals.shape, found.held_out.shape) == ((4, 0), (1, 0))
