"""The denoiser's loss and training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paramdiff import training_loop
from paramdiff.diffusion.diffusion_settings import DiffusionSettings, ScheduleSettings
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import (
    build_denoiser,
    denoising_loss,
    held_out_loss,
    train_denoiser,
)

CPU = torch.device("cpu")
SCHEDULER = build_scheduler(ScheduleSettings())
MLP = {"kind": "mlp", "width": 16, "depth": 1}
CONVOLUTIONAL = {"kind": "conv1d", "channels": (4, 8, 4), "kernel_size": 3}


class Stopped(Exception):
    """Raised in the middle of a run."""


class Answer(nn.Module):
    """Returns what a function makes of the noisy latents and the timesteps."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, noisy, timesteps):
        return self.answer(noisy, timesteps)


def settings_with(num_steps=12, denoiser=MLP, ema_decay=0.0):
    training = {"num_steps": num_steps, "batch_size": 16, "lr": 3e-3, "ema_decay": ema_decay}
    return DiffusionSettings(denoiser=denoiser, standardize=False, training=training)


def latent_batch(size, generator):
    return torch.randn(size, 6, generator=generator) * 0.3 + 1


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    latents, eps = torch.randn(2, 5, 6, generator=generator)
    return latents, torch.tensor([0, 3, 500, 900, 999]), eps


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equal(other[name])] == []


def test_loss_of_a_perfect_prediction_is_zero(batch):
    latents, timesteps, eps = batch
    known = Answer(lambda noisy, t: eps)
    assert denoising_loss(known, SCHEDULER, latents, timesteps, eps) == 0


def test_loss_of_the_inverted_forward_process_is_zero(batch):
    latents, timesteps, eps = batch

    def invert(noisy, t):
        assert torch.equal(t, timesteps)
        alpha_bar = SCHEDULER.alphas_cumprod[t][:, None]
        return (noisy - alpha_bar.sqrt() * latents) / (1 - alpha_bar).sqrt()

    loss = denoising_loss(Answer(invert), SCHEDULER, latents, timesteps, eps)
    assert loss < 1e-9


def test_loss_equals_the_formula(batch):
    latents, timesteps, eps = batch
    alpha_bar = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)[timesteps]
    noisy = alpha_bar.sqrt()[:, None] * latents + (1 - alpha_bar).sqrt()[:, None] * eps
    expected = (noisy * 2 - eps).square().mean().float()
    double = Answer(lambda x, t: 2 * x)
    found = denoising_loss(double, SCHEDULER, latents, timesteps, eps)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_loss_of_no_prediction_is_the_noises_variance(batch):
    latents, timesteps, eps = batch
    silent = Answer(lambda x, t: torch.zeros_like(x))
    found = denoising_loss(silent, SCHEDULER, latents, timesteps, eps)
    torch.testing.assert_close(found, F.mse_loss(torch.zeros_like(eps), eps))


def test_loss_of_the_velocity_is_the_papers_weighted_by_the_share_of_noise(batch):
    """Velocity and noise err by one factor of each other, ``1 / sqrt(alpha_bar)``."""
    latents, timesteps, eps = batch
    alpha_bar = SCHEDULER.alphas_cumprod[timesteps][:, None]
    noisy = SCHEDULER.add_noise(latents, eps, timesteps)
    guess = eps + 0.1 * alpha_bar.sqrt()
    velocity = (guess - (1 - alpha_bar).sqrt() * noisy) / alpha_bar.sqrt()
    scheduler = build_scheduler(ScheduleSettings(prediction_type="v_prediction"))
    loss = denoising_loss(Answer(lambda x, t: velocity), scheduler, latents, timesteps, eps)
    assert loss.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("denoiser", [MLP, CONVOLUTIONAL], ids=["mlp", "conv1d"])
def test_a_denoiser_of_the_velocity_begins_at_zero_and_learns(denoiser):
    schedule = ScheduleSettings(prediction_type="v_prediction")
    settings = settings_with(300, denoiser).model_copy(update={"schedule": schedule})
    x, t = torch.randn(5, 6), torch.tensor([0, 3, 500, 900, 999])
    assert build_denoiser(settings, 6).eval()(x, t).eq(0).all()
    assert not build_denoiser(settings_with(300, denoiser), 6).eval()(x, t).eq(0).any()
    _, result = train_denoiser(latent_batch, 6, settings, seed=0, device=CPU)
    assert sum(result.losses[-50:]) < 0.8 * sum(result.losses[:20]) * 50 / 20


def test_held_out_loss_is_the_same_at_every_call_and_known_for_the_best_prediction():
    """Of latents that are all one point, the best prediction leaves nothing."""
    point = torch.full((3, 6), 0.7)
    loss = held_out_loss(point, settings_with(), seed=0, device=CPU)

    def invert(noisy, t):
        alpha_bar = SCHEDULER.alphas_cumprod[t][:, None]
        return (noisy - alpha_bar.sqrt() * 0.7) / (1 - alpha_bar).sqrt()

    assert loss(Answer(invert)) < 1e-9
    silent = Answer(lambda x, t: torch.zeros_like(x))
    assert loss(silent) == loss(silent) == pytest.approx(1, abs=0.05)
    other = held_out_loss(point, settings_with(), seed=1, device=CPU)
    assert other(silent) != loss(silent)
    seen = []
    loss(Answer(lambda x, t: seen.append(t) or torch.zeros_like(x)))
    assert (seen[0].min(), len(seen[0].unique())) == (0, 512)  # spread over all timesteps


@pytest.mark.parametrize("denoiser", [MLP, CONVOLUTIONAL], ids=["mlp", "conv1d"])
def test_loss_falls(denoiser):
    trained, result = train_denoiser(
        latent_batch, 6, settings_with(300, denoiser), seed=0, device=CPU
    )
    assert not trained.training
    assert sum(result.losses[-50:]) < 0.8 * sum(result.losses[:20]) * 50 / 20


@pytest.mark.parametrize("denoiser", [MLP, CONVOLUTIONAL], ids=["mlp", "conv1d"])
def test_same_seed_same_bits_and_the_global_stream_is_untouched(denoiser):
    settings = settings_with(denoiser=denoiser)
    stream = torch.get_rng_state()
    one, first = train_denoiser(latent_batch, 6, settings, seed=1, device=CPU)
    assert torch.equal(torch.get_rng_state(), stream)
    torch.rand(3)
    other, second = train_denoiser(latent_batch, 6, settings, seed=1, device=CPU)
    assert first.losses == second.losses
    assert_same_tensors(one.state_dict(), other.state_dict())
    assert train_denoiser(latent_batch, 6, settings, seed=2, device=CPU)[1].losses != first.losses


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resumed_run_equals_an_uninterrupted_one(ema_decay, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    settings = settings_with(denoiser=CONVOLUTIONAL, ema_decay=ema_decay)
    whole, uninterrupted = train_denoiser(latent_batch, 6, settings, seed=0, device=CPU)
    kept = {"seed": 0, "device": CPU, "state_file": tmp_path / "state.pt"}

    def stop(done, total):
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train_denoiser(latent_batch, 6, settings, progress=stop, **kept)
    resumed, result = train_denoiser(latent_batch, 6, settings, **kept)
    assert result.losses == uninterrupted.losses
    assert_same_tensors(resumed.state_dict(), whole.state_dict())


def test_averaged_weights_are_not_the_last():
    last, _ = train_denoiser(latent_batch, 6, settings_with(), seed=0, device=CPU)
    mean, _ = train_denoiser(latent_batch, 6, settings_with(ema_decay=0.99), seed=0, device=CPU)
    assert not torch.equal(last.output.weight, mean.output.weight)
