"""A run's denoiser is validated while it trains."""

import math

import pytest
import torch

from paramdiff import training_loop
from paramdiff.diffusion.diffusion_settings import check_num_inference_steps
from paramdiff.early_stopping import ValidationRecord, best_record
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.runs import denoiser_validation as validation
from paramdiff.runs.denoiser_validation import NUM_SAMPLES, dispersion_warning, few_steps
from paramdiff.runs.run import make_networks
from tests.commands.test_fit import QUICK, drifting, planned

WATCHED = [
    *QUICK,
    "diffusion.training.num_steps=40",
    "diffusion.early_stopping.every=8",
    "diffusion.early_stopping.patience=2",
]


class Stopped(Exception):
    """Raised in the middle of a run."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return drifting(tmp_path_factory.mktemp("drifting") / "in")


def made(checkpoints, out, *overrides, **options):
    recipe = planned(checkpoints, overrides=[*WATCHED, *overrides]).recipe
    return make_networks(recipe, out, device="cpu", **options)


def records_of(out):
    (generator,) = out.seed_runs
    return generator.folder.log.validation_records("denoiser")


@pytest.mark.parametrize("normalization", ["tensor", "coordinate"])
def test_the_dispersion_is_the_evaluations(checkpoints, tmp_path, normalization):
    run = made(checkpoints, tmp_path / "run", f"parameters.normalization={normalization}")
    records = records_of(run)
    assert all(record.held_out_loss is not None for record in records)
    pipeline = ParameterDiffusionPipeline.from_pretrained(tmp_path / "run" / "pipeline")
    samples = pipeline(range(NUM_SAMPLES), batch_size=NUM_SAMPLES).vectors
    normalized = fit_normalization(run.zoo.originals, run.zoo.layout)
    expected = dispersion(normalized.apply(samples), normalized.apply(run.zoo.originals))
    assert best_record(records).dispersion == pytest.approx(expected, rel=1e-4)


def test_a_run_killed_between_validations_ends_alike(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    notes = []

    def stop(stage, done, total, note=""):
        notes.append(note)
        if stage == "training the denoiser" and done == 19:
            raise Stopped

    whole = made(checkpoints, tmp_path / "whole")
    with pytest.raises(Stopped):
        made(checkpoints, tmp_path / "killed", progress=stop)
    killed = made(checkpoints, tmp_path / "killed")
    assert records_of(killed) == records_of(whole)
    assert torch.equal(killed.seed_runs[0].generated, whole.seed_runs[0].generated)
    spreads = [f"dispersion {record.dispersion:.2f}" for record in records_of(whole)[:2]]
    assert list(dict.fromkeys(notes)) == ["", *spreads]


def test_a_denoiser_of_the_velocity_is_validated_before_it_has_learned(checkpoints, tmp_path):
    first, *_ = records_of(
        made(checkpoints, tmp_path / "run", "diffusion.schedule.prediction_type=v_prediction")
    )
    assert first.update == 0
    assert first.dispersion == pytest.approx(1, abs=0.3)  # Gaussian, in few steps


def test_latents_that_are_not_standardized_have_no_cheap_dispersion(checkpoints, tmp_path):
    records = records_of(made(checkpoints, tmp_path / "run", "diffusion.standardize=false"))
    assert {record.dispersion for record in records} == {None}


@pytest.mark.parametrize("found", [math.inf, math.nan, NotFiniteError("NaN")])
def test_samples_that_are_not_finite_stop_no_training(checkpoints, tmp_path, monkeypatch, found):
    def spread(denoiser):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(validation, "_dispersion", lambda *args, **kwargs: spread)
    records = records_of(made(checkpoints, tmp_path / "run"))
    assert records and all(record.dispersion is None for record in records)


def test_nothing_is_validated_unless_asked(checkpoints, tmp_path):
    run = made(checkpoints, tmp_path / "run", "diffusion.early_stopping=null")
    assert records_of(run) == []


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
@pytest.mark.parametrize("num_timesteps", [2, 7, 12, 60, 1000])
def test_few_steps_are_what_the_solver_can_take(solver, num_timesteps):
    for num_steps in (1, 7, num_timesteps - 1, num_timesteps):
        if solver == "dpmsolver++" and num_steps >= num_timesteps:
            continue  # which no recipe asks for
        found = few_steps(solver, num_timesteps, num_steps)
        check_num_inference_steps(solver, num_timesteps, found)
        assert found <= min(50, num_steps)
    assert few_steps("ddpm", 1000, 1000) == 50


def test_a_dispersion_unlike_the_originals_is_a_warning():
    even = ValidationRecord(100, 0.3, 0.9)
    narrow = ValidationRecord(200, 0.2, 0.41)
    assert dispersion_warning([]) is None
    assert dispersion_warning([even]) is None
    assert "a dispersion of 0.41 times" in dispersion_warning([even, narrow])
    later = ValidationRecord(300, 0.3, 1.1)
    assert dispersion_warning([narrow, later])  # that of the lowest loss is kept
    last = [ValidationRecord(100, None, 1.0), ValidationRecord(200, None, 1.6)]
    assert "a dispersion of 1.60 times" in dispersion_warning(last)
    assert dispersion_warning([ValidationRecord(100, 0.3, None)]) is None
