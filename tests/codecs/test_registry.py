"""Training, saving and loading codecs."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from paramdiff import training_loop
from paramdiff.codecs.autoencoder import AutoencoderCodec, kl_divergence, reconstruction_loss
from paramdiff.codecs.base import decode_all, encode_all
from paramdiff.codecs.codec_settings import AutoencoderCodecSettings, PCACodecSettings
from paramdiff.codecs.pca import PCACodec
from paramdiff.codecs.registry import fit_codec
from paramdiff.errors import UserError

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Stopped(Exception):
    """Raised in the middle of a run."""


def settings_with(num_steps=12, **changes):
    values = {
        "kind": "autoencoder",
        "latent_dim": 4,
        "channels": (4, 8),
        "kernel_size": 3,
        "target": "clean",
        "input_noise": 0.01,
        "latent_noise": 0.1,
        "statistics": "running",
        "training": {"num_steps": num_steps, "batch_size": 8, "lr": 3e-3, "extra_updates": 1},
    }
    return AutoencoderCodecSettings(**{**values, **changes})


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 64, generator=generator) + 0.1 * torch.randn(6, 64, generator=generator)


@pytest.fixture
def codec():
    torch.manual_seed(1)
    return AutoencoderCodec(length=64, latent_dim=4, channels=(4, 8), kernel_size=3)


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equal(other[name])] == []


def test_loss_falls(vectors):
    codec, result = fit_codec(vectors, settings_with(200), seed=0, device=CPU)
    assert len(result.losses) == 201
    assert sum(result.losses[-20:]) < 0.5 * sum(result.losses[:20])
    assert not codec.training
    reconstruction = codec.decode(codec.encode(vectors))
    assert (reconstruction - vectors).square().mean() < 0.5 * vectors.square().mean()


def test_same_seed_same_bits_and_the_global_stream_is_untouched(vectors):
    torch.manual_seed(5)
    stream = torch.get_rng_state()
    one, first = fit_codec(vectors, settings_with(), seed=3, device=CPU)
    assert torch.equal(torch.get_rng_state(), stream)
    torch.manual_seed(6)
    other, second = fit_codec(vectors, settings_with(), seed=3, device=CPU)
    assert first.losses == second.losses
    assert_same_tensors(one.state_dict(), other.state_dict())
    assert fit_codec(vectors, settings_with(), seed=4, device=CPU)[1].losses != first.losses


def test_resumed_run_equals_an_uninterrupted_one(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", -1.0)
    whole, uninterrupted = fit_codec(vectors, settings_with(), seed=0, device=CPU)
    state_file = tmp_path / "state.pt"

    def stop(done, total):
        if done == 7:
            raise Stopped

    with pytest.raises(Stopped):
        fit_codec(
            vectors, settings_with(), seed=0, device=CPU, state_file=state_file, progress=stop
        )
    steps = []
    resumed, result = fit_codec(
        vectors,
        settings_with(),
        seed=0,
        device=CPU,
        state_file=state_file,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 13) for done in range(7, 14)]  # the seventh was not saved yet
    assert result.losses == uninterrupted.losses
    assert_same_tensors(resumed.state_dict(), whole.state_dict())


def test_targets_differ_by_the_noise(codec, vectors):
    torch.nn.init.zeros_(codec.to_vector.weight)
    torch.nn.init.zeros_(codec.to_vector.bias)
    noise, latent_noise = 0.3 * torch.randn(6, 64), torch.randn(6, 4)
    losses = {
        target: reconstruction_loss(
            codec, vectors, noise, latent_noise, target=target, kl_weight=0
        )
        for target in ("clean", "noisy")
    }
    torch.testing.assert_close(losses["clean"], vectors.square().mean())
    torch.testing.assert_close(losses["noisy"], (vectors + noise).square().mean())


def test_noise_enters_the_input_and_the_latent(codec, vectors):
    none = torch.zeros(6, 64), torch.zeros(6, 4)
    quiet = reconstruction_loss(codec, vectors, *none, target="clean", kl_weight=0)
    reconstruction = codec.decode(codec.encode(vectors, "batch"), "batch")
    torch.testing.assert_close(quiet, (reconstruction - vectors).square().mean())
    for noise in ((torch.randn(6, 64), none[1]), (none[0], torch.randn(6, 4))):
        noisy = reconstruction_loss(codec, vectors, *noise, target="clean", kl_weight=0)
        assert (noisy - quiet).abs() > 1e-4


def test_kl_weight_scales_the_divergence(codec, vectors):
    noise = torch.zeros(6, 64), torch.randn(6, 4)
    mean, log_variance = codec.encode_distribution(vectors, "batch")
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, log_variance), kl.sum(1).mean())
    losses = [
        reconstruction_loss(codec, vectors, *noise, target="clean", kl_weight=weight)
        for weight in (1.0, 3.0)
    ]
    torch.testing.assert_close(losses[1] - losses[0], 2 * kl.sum(1).mean())


def test_kl_weight_scales_the_latent_noise_by_the_predicted_deviation(codec, vectors):
    torch.nn.init.zeros_(codec.fc_var.weight)
    torch.nn.init.constant_(codec.fc_var.bias, 2 * torch.log(torch.tensor(0.5)).item())
    eps, none = torch.randn(6, 4), torch.zeros(6, 64)
    mean, log_variance = codec.encode_distribution(vectors, "batch")
    learned = reconstruction_loss(codec, vectors, none, eps, target="clean", kl_weight=1.0)
    fixed = reconstruction_loss(codec, vectors, none, 0.5 * eps, target="clean", kl_weight=0.0)
    torch.testing.assert_close(learned, fixed + kl_divergence(mean, log_variance))


def test_a_variational_codec_trains(vectors):
    _, result = fit_codec(vectors, settings_with(60, kl_weight=0.01), seed=0, device=CPU)
    assert sum(result.losses[-10:]) < sum(result.losses[:10])


def test_linear_settings_fit_principal_components(vectors):
    settings = PCACodecSettings(kind="pca", explained_variance=1.0)
    codec, result = fit_codec(vectors, settings, seed=0, device=CPU)
    assert isinstance(codec, PCACodec)
    assert result.losses == []
    assert settings.decoding_statistics == "running"
    torch.testing.assert_close(codec.decode(codec.encode(vectors)), vectors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("statistics", ["running", "sample"])
def test_bits_of_a_decoded_vector_do_not_depend_on_how_many_there_are(codec, statistics):
    latents = torch.randn(9, 4)
    together = decode_all(codec.eval(), latents, statistics, batch_size=4)
    for count in (1, 3, 5):
        alone = decode_all(codec, latents[:count], statistics, batch_size=4)
        assert torch.equal(alone, together[:count])


def test_encode_all_equals_encode(codec, vectors):
    encoded = encode_all(codec.eval(), vectors, batch_size=4)
    torch.testing.assert_close(encoded, codec.encode(vectors), rtol=0, atol=1e-6)


def test_saved_codec_is_the_same(codec, vectors, tmp_path):
    codec.fit_latent_moments(torch.randn(5, 4))
    codec.eval().save_pretrained(tmp_path)
    loaded = AutoencoderCodec.from_pretrained(tmp_path)
    assert not loaded.training
    assert_same_tensors(loaded.state_dict(), codec.state_dict())
    assert list(loaded.config["channels"]) == list(codec.config["channels"])
    for statistics in ("running", "batch", "sample"):
        assert torch.equal(loaded.encode(vectors, statistics), codec.encode(vectors, statistics))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop("fc_mu.weight"), r"missing.*fc_mu\.weight"),
        (lambda tensors: tensors.update(foreign=torch.zeros(2)), r"unexpected.*foreign"),
        (lambda tensors: tensors.update({"fc_mu.bias": torch.zeros(5)}), r"fc_mu\.bias"),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_other_tensors_are_refused_by_name(codec, tmp_path, change, named):
    codec.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    change(tensors)
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    with pytest.raises(UserError, match=named):
        AutoencoderCodec.from_pretrained(tmp_path)


def test_another_class_is_refused_by_name(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="this is a AutoencoderCodec, not a PCACodec"):
        PCACodec.from_pretrained(tmp_path)


def test_missing_files_are_refused(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"diffusion_pytorch_model|cannot be loaded"):
        AutoencoderCodec.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["_class_name"] == "AutoencoderCodec"
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        AutoencoderCodec.from_pretrained(tmp_path)
