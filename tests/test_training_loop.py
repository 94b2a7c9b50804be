"""The training loop: schedule, averaging, resuming, refusals."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch import nn

from paramdiff import training_loop
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.processes import join
from paramdiff.progress import ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.training_loop import learning_rate, train
from paramdiff.training_settings import Optimization

CPU = torch.device("cpu")


class Stopped(Exception):
    """Raised in the middle of a run."""


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 2).train()


def fit_noise(module, step, generator):
    """A loss whose batch comes from the step's generator."""
    x = torch.randn(8, 4, generator=generator)
    return (module(x) - x[:, :2]).square().mean()


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equal(other[name])] == []


def run(settings, module=None, **kwargs):
    module = module or linear()
    result = train(module, fit_noise, settings, seed=0, device=CPU, **kwargs)
    return module, result


@pytest.mark.parametrize("final_lr", [0.0, 0.02])
def test_cosine_schedule_is_torchs(final_lr):
    settings = Optimization(num_steps=20, lr=0.1, final_lr=final_lr)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, final_lr)
    for step in range(21):
        assert learning_rate(settings, step) == pytest.approx(cosine.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        cosine.step()


def test_learning_rate_stays_at_its_end_and_a_constant_one_at_its_start():
    cosine = Optimization(num_steps=20, lr=0.1, final_lr=0.01)
    assert learning_rate(cosine, 25) == learning_rate(cosine, 20) == pytest.approx(0.01)
    constant = Optimization(num_steps=20, lr=0.1, schedule="constant")
    assert {learning_rate(constant, step) for step in range(30)} == {0.1}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_extra_update_has_learning_rate_zero(optimizer):
    weights = []
    settings = Optimization(
        num_steps=4, extra_updates=1, lr=0.1, weight_decay=0.1, optimizer=optimizer
    )
    _, result = run(
        settings, after_step=lambda step, module: weights.append(module.weight.detach().clone())
    )
    assert len(result.losses) == len(weights) == 5
    assert not torch.equal(weights[2], weights[3])
    assert torch.equal(weights[3], weights[4])


def test_first_update_is_the_optimizers():
    """One step of plain gradient descent, by hand."""
    module = linear()
    loss = fit_noise(module, 0, seeded_generator(0, 0))
    (gradient,) = torch.autograd.grad(loss, [module.weight])
    expected = module.weight.detach() - 0.1 * gradient
    settings = Optimization(num_steps=1, lr=0.1, optimizer="sgd")
    _, result = run(settings, module)
    assert result.losses == [loss.item()]
    torch.testing.assert_close(module.weight.detach(), expected)


def test_frozen_parameters_stay_and_the_module_comes_back_in_evaluation_mode():
    module = linear()
    module.bias.requires_grad_(False)
    bias, weight = module.bias.clone(), module.weight.detach().clone()
    run(Optimization(num_steps=3, lr=0.1, weight_decay=0.1), module)
    assert torch.equal(module.bias, bias)
    assert not torch.equal(module.weight, weight)
    assert not module.training


def test_average_of_weights_is_the_closed_form():
    """diffusers' decay grows as (1 + n) / (10 + n) up to the one asked for, from 0."""
    weights = []
    module, _ = run(
        Optimization(num_steps=30, lr=0.1, ema_decay=0.6),
        after_step=lambda step, module: weights.append(module.weight.detach().clone()),
    )
    average = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(module.weight.detach(), average)


def test_average_of_constant_weights_is_those_weights():
    module = linear()
    weight = module.weight.detach().clone()
    train(
        module,
        lambda module, step, generator: 0 * module.weight.sum(),
        Optimization(num_steps=10, lr=0.1, ema_decay=0.9),
        seed=0,
        device=CPU,
    )
    torch.testing.assert_close(module.weight.detach(), weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("stop_at", [1, 2, 6])
def test_resumed_run_equals_an_uninterrupted_one(ema_decay, stop_at, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    settings = Optimization(num_steps=8, lr=0.1, ema_decay=ema_decay)
    state_file = tmp_path / "state.pt"

    def attempt(progress=ignore_progress, state_file=None):
        recorded = {"norms": []}
        module, result = run(
            settings,
            recorded=recorded,
            after_step=lambda step, m: recorded["norms"].append((step, m.weight.norm().item())),
            progress=progress,
            state_file=state_file,
        )
        return module, result, recorded

    def stop(done, total):
        assert total == 8
        if done == stop_at:
            raise Stopped

    whole, uninterrupted, expected = attempt()
    with pytest.raises(Stopped):
        attempt(stop, state_file)
    assert state_file.exists() == (stop_at > 1)
    resumed, result, recorded = attempt(state_file=state_file)
    assert result.losses == uninterrupted.losses
    assert recorded == expected
    assert [step for step, _ in recorded["norms"]] == list(range(8))
    assert_same_tensors(resumed.state_dict(), whole.state_dict())
    assert result.seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_is_told_with_the_update(value):
    def diverge(module, step, generator):
        return module.weight.sum() * (value if step == 3 else 1.0)

    with pytest.raises(UserError, match=r"training diverged: the loss of update 3 is -?(nan|inf)"):
        train(linear(), diverge, Optimization(num_steps=9, lr=0.1), seed=0, device=CPU)


def test_streams_are_distinct_and_repeatable():
    parts = [(0, 0), (0, 1), (1, 0), (1, 10), (11, 0), (0, "0", 0), ("noise", 0), (-1, 0), ()]
    draws = [tuple(torch.rand(4, generator=seeded_generator(*p)).tolist()) for p in parts]
    assert len(set(draws)) == len(parts)
    again = [tuple(torch.rand(4, generator=seeded_generator(*p)).tolist()) for p in parts]
    assert again == draws


def test_seeds_give_distinct_runs():
    runs = [
        train(linear(), fit_noise, Optimization(num_steps=3, lr=0.1), seed=seed, device=CPU).losses
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_bfloat16_runs_the_forward_pass_only():
    kinds = []

    def loss(module, step, generator):
        output = module(torch.ones(3, 4))
        kinds.append(output.dtype)
        return output.float().square().mean()

    module = linear()
    settings = Optimization(num_steps=5, lr=0.1, precision="bfloat16")
    result = train(module, loss, settings, seed=0, device=CPU)
    assert set(kinds) == {torch.bfloat16}
    assert module.weight.dtype == torch.float32
    assert result.losses[-1] < result.losses[0]


def test_auto_takes_the_first_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


def test_one_program_trains_on_one_device_after_another():
    """accelerate remembers the first: here it is told that this was another than the CPU."""
    settings = Optimization(num_steps=3, lr=0.1)
    _, expected = run(settings)
    for state in (PartialState(), AcceleratorState()):
        state.device = torch.device("meta")
    _, found = run(settings)
    assert found.losses == expected.losses
    assert PartialState().device == AcceleratorState().device == CPU


def test_what_follows_the_cpu_is_not_kept_there():
    try:
        assert join(CPU)._cpu
        assert not join(torch.device("cuda"))._cpu
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_absent_and_unknown_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device: cuda is not available on this machine"):
        resolve_device("cuda")
    with pytest.raises(UserError, match="expected auto, cpu, cuda or mps, found 'tpu'"):
        resolve_device("tpu")


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, 9), (2.0, 3)])
def test_slow_saves_are_rarer(tmp_path, monkeypatch, seconds, expected):
    """Updates of a second each; two seconds for a save make 40 between saves, not 10."""
    clock, saves = [0.0], []
    monkeypatch.setattr(training_loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def save(state, path):
        clock[0] += seconds
        saves.append(path)

    def tick(done, total):
        clock[0] += 1.0

    monkeypatch.setattr(training_loop._State, "save", save)
    settings = Optimization(num_steps=100, lr=0.1)
    run(settings, state_file=tmp_path / "state.pt", progress=tick)
    assert len(saves) == expected
