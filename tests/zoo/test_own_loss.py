"""Collecting from a task that brings its own loss and score."""

import copy
from dataclasses import replace

import pytest
import torch

from paramdiff import training_loop
from paramdiff.errors import UserError
from paramdiff.storage import read_json
from paramdiff.tasks.base import Scores
from paramdiff.zoo.metadata import SCORES_FILE, write_scores
from tests.tasks.scored import r_squared, wrapped

from .collecting import CPU, Killed, bytes_of, collected, dies_at, made_task

PATTERNS = ("4.*", "1.weight")
MODES = ("train", "eval", "eval_after_first_save")


@pytest.mark.parametrize("mode", MODES)
def test_a_wrapped_classification_task_gives_the_same_zoo(tmp_path, mode):
    """Frozen layers are run ahead for one and not for the other."""
    options = {"fine_tuning": {"mode": mode}, "skip_steps": 2}
    plain = collected(tmp_path / "plain", made_task(noise=0.3), **options)
    own = collected(tmp_path / "own", wrapped(made_task(noise=0.3)), **options)
    assert all(tensor.equal(own.base[name]) for name, tensor in plain.base.items())
    torch.testing.assert_close(own.originals, plain.originals)
    torch.testing.assert_close(own.held_out, plain.held_out)
    for folder, zoo, task in (("plain", plain, made_task()), ("own", own, wrapped(made_task()))):
        write_scores(tmp_path / folder / "zoo", zoo, task, CPU)
    found, expected = (
        read_json(tmp_path / folder / "zoo" / SCORES_FILE) for folder in ("own", "plain")
    )
    assert found["num_validation"] == expected["num_validation"] == 40
    assert found["score"] == pytest.approx(expected["score"], abs=1e-6)


def test_the_trunk_is_the_epoch_with_the_best_score(tmp_path):
    """The score is negative throughout; a task that prefers the first epoch gets the first."""
    task, states = r_squared(0), []

    def falling(network, split):
        states.append(copy.deepcopy(network.state_dict()))
        return Scores(torch.tensor([-5.0 - len(states)]))

    zoo = collected(tmp_path, replace(task, score=falling), PATTERNS)
    assert len(states) == 3
    assert all(zoo.base[name].equal(states[0][name]) for name in states[0])


def test_zoo_scores_are_the_tasks_scores(tmp_path):
    task = r_squared(0)
    zoo = collected(tmp_path, task, PATTERNS)
    write_scores(tmp_path / "zoo", zoo, task, CPU)
    found = read_json(tmp_path / "zoo" / SCORES_FILE)["score"]
    vectors = torch.cat([zoo.originals, zoo.held_out])
    for entry, vector in zip(zoo.index.checkpoints, vectors, strict=True):
        network = task.build_network()
        network.load_state_dict(zoo.base | zoo.layout.unflatten(vector))
        expected = float(task.score(network, "validation").values.detach())
        assert found[entry.file] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_collection_goes_on_to_the_same_zoo(tmp_path, monkeypatch, mode):
    """Dropout draws, and so may the loss."""
    task = r_squared(0)

    def noisy(network, rows, generator):
        noise = torch.rand((), generator=generator) + torch.rand(())
        return noise * task.loss(network, rows, generator)

    options = {"task": replace(task, loss=noisy), "patterns": PATTERNS}
    options |= {"fine_tuning": {"mode": mode}, "skip_steps": 2}
    collected(tmp_path / "whole", **options)
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    for moment in (("pre-training", 20), ("collecting checkpoints", 3)):
        with pytest.raises(Killed):
            collected(tmp_path / "killed", progress=dies_at(moment), **options)
    collected(tmp_path / "killed", **options)
    assert bytes_of(tmp_path / "killed" / "zoo") == bytes_of(tmp_path / "whole" / "zoo")


def test_a_score_that_is_no_number_stops_pre_training(tmp_path):
    task = replace(r_squared(0), score=lambda *_: Scores(torch.tensor([torch.nan])))
    with pytest.raises(UserError, match=r"pre-training, update 15: .* scores are not finite"):
        collected(tmp_path, task, PATTERNS)
    assert not (tmp_path / "zoo").exists()
