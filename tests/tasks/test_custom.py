"""Networks that a task scores itself: each as it is, and what the task says is checked."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.tasks.base import Scores
from paramdiff.tasks.custom import CustomTask, TaskScorer, score_network
from tests.tasks.scored import SIZES, build_network, r_squared

CPU = torch.device("cpu")


def base():
    return build_network().state_dict()


def sets(num):
    """Parameter sets with other weights, and other running statistics."""
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "4.weight": torch.randn(1, 12, generator=generator),
            "1.running_mean": torch.randn(12, generator=generator),
        }
        for _ in range(num)
    ]


def with_score(score):
    return replace(r_squared(0), score=score)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_set_gets_the_score_of_its_own_network(split):
    task, state, chosen = r_squared(0), base(), sets(3)
    for _ in range(2):  # nothing is left over from an earlier one
        found = TaskScorer(task, state, device=CPU).scores(chosen, split)
        for tensors, scores in zip(chosen, found, strict=True):
            network = build_network()
            network.load_state_dict(state | tensors)
            expected = task.score(network.eval(), split)
            assert scores.values.equal(expected.values.detach())
            assert scores.wrong.equal(expected.wrong)
            assert not scores.values.requires_grad and len(scores.wrong) == SIZES[split]


def test_a_score_that_moves_buffers_spoils_no_other_network():
    def moving(network, split):
        with torch.no_grad():
            network[1].running_mean += 1
        return Scores(network[1].running_mean[:1].clone())

    chosen = sets(3)
    found = TaskScorer(with_score(moving), base(), device=CPU).scores(chosen, "test")
    for tensors, scores in zip(chosen, found, strict=True):
        torch.testing.assert_close(scores.values, tensors["1.running_mean"][:1] + 1)


@pytest.mark.parametrize("mode", [True, False])
def test_the_networks_mode_is_kept(mode):
    network = build_network().train(mode)
    score_network(r_squared(0), network, "validation", "it")
    assert network.training is mode and network[1].training is mode


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (Scores(torch.zeros(7)), r"must be 150 test scores, or one .*, but their shape is \(7,\)"),
        (Scores(torch.zeros(150, 1)), r"their shape is \(150, 1\)"),
        (Scores(torch.tensor(0.5)), r"their shape is \(\)"),
        (Scores(torch.zeros(1), torch.zeros(3)), r"be bool \[W\], but are torch.float32 of shape"),
        (Scores(torch.zeros(1), torch.zeros(0, dtype=torch.bool)), r"of shape \(0,\)"),
    ],
)
def test_what_is_no_score_is_refused(scores, message):
    with pytest.raises(UserError, match="parameter set 0: .*" + message):
        TaskScorer(with_score(lambda *_: scores), base(), device=CPU).scores(sets(1), "test")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_score_that_is_no_number_names_the_network(value):
    values = iter([0.5, 0.5, value])
    task = with_score(lambda *_: Scores(torch.tensor([next(values)])))
    with pytest.raises(NotFiniteError, match="parameter set 2: its test scores are not finite"):
        TaskScorer(task, base(), device=CPU).scores(sets(3), "test")


def test_all_networks_are_scored_alike():
    """Also over calls: groups are compared with each other."""
    lengths = iter([4, 4, 5])
    task = with_score(
        lambda *_: Scores(torch.zeros(1), torch.zeros(next(lengths), dtype=torch.bool))
    )
    networks = TaskScorer(task, base(), device=CPU)
    networks.scores(sets(2), "test")
    with pytest.raises(
        UserError, match=r"set 0: .* but are 1 values, 5 that may be wrong after 1"
    ):
        networks.scores(sets(1), "test")


def test_a_random_score_is_told():
    state = base()
    assert TaskScorer(r_squared(0), state, device=CPU).is_deterministic
    before = torch.get_rng_state()
    task = with_score(lambda *_: Scores(torch.rand(1)))
    with pytest.warns(UserWarning, match="random at test time"):
        assert not TaskScorer(task, state, device=CPU).is_deterministic
    assert torch.get_rng_state().equal(before)


def test_another_networks_checkpoint_is_refused():
    with pytest.raises(UserError, match="the base checkpoint is not the network's"):
        TaskScorer(r_squared(0), nn.Linear(2, 2).state_dict(), device=CPU)


def test_a_task_without_examples_is_refused():
    with pytest.raises(UserError, match=r"'empty': 3 training, 0 validation and 2 test"):
        CustomTask("empty", "score", True, 3, 0, 2, build_network, None, None)
