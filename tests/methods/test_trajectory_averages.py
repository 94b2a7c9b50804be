"""Averages along a run against the libraries that make them while training."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paramdiff.methods.averages import TOP
from paramdiff.methods.combinations import DECAYS, decay_weights, ema_weights, power_weights
from paramdiff.methods.trajectory_averages import (
    DECAYED,
    EMA,
    LAST,
    POWER_EMA,
    RUN_AVERAGE,
)
from paramdiff.parameters.layout import ParameterLayout

from .contexts import built, context, generator, raw_originals


def networks(num=12):
    """Snapshots of a network in training, as vectors and as modules."""
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    found = []
    for seed in range(num):
        values = torch.randn(43, generator=generator(seed))
        nn.utils.vector_to_parameters(values, network.parameters())
        found.append(copy.deepcopy(network))
    layout = ParameterLayout.of(network.state_dict(), list(network.state_dict()))
    return found, torch.stack([layout.flatten(one.state_dict()) for one in found]), layout


def made(member, vectors, **fields):
    return built(member, context(originals=vectors, **fields)).raw


def test_the_last_ones_are_torchs_averaged_model():
    snapshots, vectors, layout = networks()
    averaged = AveragedModel(snapshots[-5])
    for one in snapshots[-5:]:
        averaged.update_parameters(one)
    torch.testing.assert_close(
        made(LAST.at(5), vectors)[0], layout.flatten(averaged.module.state_dict())
    )


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_the_moving_average_is_torchs(decay):
    snapshots, vectors, layout = networks()
    averaged = AveragedModel(snapshots[0], multi_avg_fn=get_ema_multi_avg_fn(decay))
    for one in snapshots:
        averaged.update_parameters(one)
    torch.testing.assert_close(
        made(EMA.at(decay), vectors)[0], layout.flatten(averaged.module.state_dict())
    )


def test_the_moving_average_is_timms():
    timm = pytest.importorskip("timm.utils.model_ema")
    snapshots, vectors, layout = networks()
    averaged = timm.ModelEmaV3(snapshots[0], decay=0.9)
    for one in snapshots[1:]:
        averaged.update(one)
    torch.testing.assert_close(
        made(EMA.at(0.9), vectors)[0], layout.flatten(averaged.module.state_dict())
    )


def test_the_last_ones_are_lightnings_running_average():
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    snapshots, vectors, layout = networks()
    running = copy.deepcopy(snapshots[-5])
    for number, one in enumerate(snapshots[-4:], start=1):
        callbacks.StochasticWeightAveraging.update_parameters(
            running, one, torch.tensor(number), callbacks.StochasticWeightAveraging.avg_fn
        )
    torch.testing.assert_close(made(LAST.at(5), vectors)[0], layout.flatten(running.state_dict()))


MEMBERS = [LAST.at(5), EMA.at(0.9), POWER_EMA.at(0.1), *(DECAYED.at(shape) for shape in DECAYS)]
every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda one: one.name)


@every_member
def test_averages_lie_between_the_originals_and_keep_equal_ones(member):
    given_ = context(raw_originals(12))
    found = built(member, given_).raw
    assert (found >= given_.raw.min(0).values - 1e-4).all()
    assert (found <= given_.raw.max(0).values + 1e-4).all()
    equal = context(raw_originals(1).expand(12, -1))
    torch.testing.assert_close(built(member, equal).raw, equal.raw[:1])


@every_member
def test_each_run_has_a_network_of_its_own(member):
    raw = raw_originals(24)
    runs = torch.arange(24) % 2
    steps = torch.arange(24) // 2 + 1
    both = built(member, context(raw, runs=runs, steps=steps)).raw
    assert len(both) == 2
    for run in (0, 1):
        alone = context(raw[runs == run])
        torch.testing.assert_close(both[run], built(member, alone).raw[0])
    assert len(built(member, context(raw, runs=runs, steps=steps), count=1).raw) == 1
    short = torch.tensor([0] * 23 + [1])
    assert "of a run" in member.missing(context(raw, runs=short, steps=torch.arange(24)))


def test_runs_that_are_too_short_are_a_reason():
    given_ = context(raw_originals(12), runs=torch.arange(12) // 4)
    assert LAST.at(5).missing(given_) == "needs 5 checkpoints of each run"
    assert LAST.at(4).missing(given_) is None


def test_run_averages_are_those_of_each_run():
    raw, runs = raw_originals(9), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    found = built(RUN_AVERAGE.at(None), context(raw, runs=runs)).raw
    expected = torch.stack([raw[runs == run].mean(0) for run in range(3)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.sampled_from([0.02, 0.1, 0.25]))
def test_power_windows_have_their_width(gaps, width):
    """Of many snapshots: the standard deviation relative to the last step."""
    steps = torch.tensor(gaps).cumsum(0)
    weights = power_weights(steps, width)
    assert weights.ge(0).all() and weights.sum().item() == pytest.approx(1)
    fine = torch.arange(1, 20_001)
    weights = power_weights(fine, width)
    mean = float((weights * fine).sum())
    deviation = float((weights * (fine - mean) ** 2).sum()) ** 0.5
    assert deviation / 20_000 == pytest.approx(width, rel=0.01)


def test_a_power_window_is_the_running_average_of_its_paper():
    """Karras et al. 2024, equation 127: an update with a decay of its own at each step."""
    width, num = 0.1, 400
    gamma = np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max()
    values = torch.randn(num, generator=generator()).double()
    average = 0.0
    for step, value in enumerate(values.tolist(), start=1):
        decay = (1 - 1 / step) ** (gamma + 1)
        average = decay * average + (1 - decay) * value
    found = float(power_weights(torch.arange(1, num + 1), width) @ values)
    assert found == pytest.approx(average, abs=1e-9)


@pytest.mark.parametrize("shape", DECAYS)
@pytest.mark.parametrize("num", [2, 3, 10])
def test_a_decay_equivalent_average_is_that_decay(shape, num):
    """The average of a run at a constant rate is the end of one whose updates are scaled."""
    points = torch.randn(num, 4, generator=generator()).double()
    weights = decay_weights(num, shape)
    assert weights.ge(0).all() and weights.sum().item() == pytest.approx(1)
    reached = points[0].clone()
    for passed, (before, after) in enumerate(pairwise(points), start=1):
        reached += DECAYS[shape](passed / num) * (after - before)
    torch.testing.assert_close(weights @ points, reached)


def test_a_linear_decay_is_the_plain_average():
    assert decay_weights(7, "linear").allclose(torch.full((7,), 1 / 7).double())


def test_moving_average_weights_sum_to_one():
    for num in (1, 2, 9):
        assert ema_weights(num, 0.8).sum().item() == pytest.approx(1)


def test_the_best_ones_are_averaged():
    vectors = torch.eye(12)
    score = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.6, 0.5, 0.4, 0.0, 0.0, 0.0])
    found = made(TOP.at(5), vectors, validation_score=score)[0]
    assert found.nonzero()[:, 0].tolist() == [1, 3, 5, 6, 7]
    assert found[found > 0].allclose(torch.tensor(0.2))
