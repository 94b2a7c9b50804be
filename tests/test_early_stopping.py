"""Validations during training: which is the best, when to stop; they change nothing."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paramdiff import training_loop
from paramdiff.early_stopping import ValidationCallback, ValidationRecord, best_record
from paramdiff.errors import UserError
from paramdiff.progress import ignore_progress
from paramdiff.training_loop import train
from paramdiff.training_settings import EarlyStopping, Optimization


class Stopped(Exception):
    """Raised in the middle of a run."""


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()


def fit_noise(module, step, generator):
    x = torch.randn(8, 4, generator=generator)
    return (module(x) - x[:, :3]).square().mean()


def run(num_steps, ema_decay=0.9, **kwargs):
    module = network()
    settings = Optimization(num_steps=num_steps, lr=0.1, schedule="constant", ema_decay=ema_decay)
    result = train(module, fit_noise, settings, seed=0, device=torch.device("cpu"), **kwargs)
    return module.state_dict(), result


def scripted(losses, every=2, patience=3):
    """A validation that finds one loss after the other, and the modes in which it validated."""
    pending, modes = list(losses), []

    def held_out_loss(module):
        modes.append({part.training for part in module.modules()})
        return pending.pop(0)

    return ValidationCallback(EarlyStopping(every=every, patience=patience), held_out_loss), modes


def weight_norm(module):
    return float(module[0].weight.norm())


def assert_same_tensors(one, other):
    assert [name for name in one if not one[name].equal(other[name])] == []


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_comes_back_is_a_run_that_ended_at_the_best_validation(ema_decay):
    validation, modes = scripted([5.0, 4.0, 3.0, 3.5, 3.0, 3.2])
    kept, result = run(20, ema_decay, validation=validation)
    shorter, _ = run(6, ema_decay)
    assert_same_tensors(kept, shorter)
    assert [record.update for record in result.validation] == [2, 4, 6, 8, 10, 12]
    assert len(result.losses) == 12  # three records without a lower loss
    assert modes == [{False}] * 6


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_validating_changes_nothing(ema_decay):
    validation, _ = scripted([3.0, 2.0, 1.0, 0.5])
    watched, result = run(7, ema_decay, validation=validation)
    alone, expected = run(7, ema_decay)
    assert_same_tensors(watched, alone)
    assert result.losses == expected.losses
    assert [record.update for record in result.validation] == [2, 4, 6, 7]  # the last update, too


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_begins_as_the_best_stays_as_it_is(ema_decay):
    validation, _ = scripted([2.0, 3.0, 2.5, 2.1, 2.2])
    validation = replace(validation, at_start=True)
    kept, result = run(20, ema_decay, validation=validation)
    assert_same_tensors(kept, network().state_dict())
    assert [record.update for record in result.validation] == [0, 2, 4, 6]


def test_a_start_that_was_validated_is_not_validated_again(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)

    def stop(done, total):
        if done == 3:
            raise Stopped

    kept = {"state_file": tmp_path / "state.pt"}
    first = replace(scripted([2.0, 3.0])[0], at_start=True)
    with pytest.raises(Stopped):
        run(6, validation=first, progress=stop, **kept)
    _, result = run(6, validation=replace(scripted([1.0, 1.5])[0], at_start=True), **kept)
    assert [(record.update, record.held_out_loss) for record in result.validation] == [
        *((0, 2.0), (2, 3.0)),
        *((4, 1.0), (6, 1.5)),
    ]


def test_without_anything_held_out_the_last_weights_are_kept_and_nothing_stops():
    validation = ValidationCallback(EarlyStopping(every=1, patience=1), dispersion=weight_norm)
    watched, result = run(6, validation=validation)
    assert_same_tensors(watched, run(6)[0])
    assert len({record.dispersion for record in result.validation}) == 6
    assert {record.held_out_loss for record in result.validation} == {None}


@pytest.mark.parametrize("stop_at", [2, 5, 6, 11])
def test_a_killed_run_goes_on_to_the_same_end(stop_at, tmp_path, monkeypatch):
    """The loss falls up to the sixth update: killed before the best record, at it, and after."""
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    updates = []

    def attempt(progress=ignore_progress, state_file=None):
        validation = ValidationCallback(
            EarlyStopping(every=2, patience=3),
            lambda module: abs(updates[-1] - 6.0),
            dispersion=weight_norm,
        )
        return run(
            20,
            validation=validation,
            progress=progress,
            state_file=state_file,
            after_step=lambda step, module: updates.append(step + 1),
        )

    def stop(done, total):
        if done == stop_at:
            raise Stopped

    seen = []
    expected, whole = attempt(lambda done, total: seen.append((done, total)))
    assert seen[-2:] == [(11, 20), (12, 12)]
    with pytest.raises(Stopped):
        attempt(stop, tmp_path / "state.pt")
    found, resumed = attempt(state_file=tmp_path / "state.pt")
    assert_same_tensors(found, expected)
    assert (resumed.losses, resumed.validation) == (whole.losses, whole.validation)
    assert best_record(resumed.validation).update == 6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 4))
def test_it_is_over_when_the_patience_has_passed_since_the_first_lowest(losses, patience):
    records = [ValidationRecord(update, float(loss), None) for update, loss in enumerate(losses)]
    best = best_record(records)
    assert best.held_out_loss == min(losses)
    assert losses.index(min(losses)) == best.update
    validation = ValidationCallback(EarlyStopping(patience=patience))
    earlier, last = losses[:-patience], losses[-patience:]
    assert validation.is_over(records) == (bool(earlier) and min(earlier) <= min(last))


def test_a_held_out_loss_that_is_no_number_is_told():
    validation, _ = scripted([1.0, float("nan")])
    with pytest.raises(UserError, match="diverged: the held-out loss after 4 updates is nan"):
        run(9, validation=validation)
