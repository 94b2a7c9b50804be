"""Without a denoiser: a VAE whose prior is sampled directly."""

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.storage import read_json, write_json
from tests.pipeline.parts import BATCH, build


@pytest.fixture
def prior():
    """A convolutional codec that decodes latents drawn from N(0, I)."""
    whole = build("autoencoder", "conv1d")
    return ParameterDiffusionPipeline(
        whole.parameter_space,
        whole.codec,
        None,
        None,
        statistics="running",
        standardize=False,
        batch_size=BATCH,
    )


def test_without_a_denoiser_latents_are_standard_normal(prior):
    draws = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    latents = torch.stack([torch.randn(prior.codec.latent_dim, generator=g) for g in draws])
    generated = prior(seeds=[3, 4])
    with torch.no_grad():
        expected = prior.parameter_space.denormalize(prior.codec.decode(latents))
    torch.testing.assert_close(generated.vectors, expected, atol=1e-5, rtol=1e-5)


def test_without_a_denoiser_a_pipeline_is_saved_and_loaded(prior, tmp_path):
    prior.save_pretrained(tmp_path / "prior")
    assert not {"denoiser", "scheduler"} & {p.name for p in (tmp_path / "prior").iterdir()}
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "prior")
    assert again.denoiser is None and again.scheduler is None
    assert torch.equal(again(seeds=range(5)).vectors, prior(seeds=range(5)).vectors)


def test_without_a_denoiser_there_are_no_steps(prior):
    with pytest.raises(UserError, match=r"num_inference_steps: .* without a denoiser"):
        prior(seeds=[0], num_inference_steps=10)
    with pytest.raises(UserError, match=r"num_inference_steps: .* without a denoiser"):
        prior.trajectory([0], num_inference_steps=10, every=1)


@pytest.mark.parametrize("part", ["denoiser", "scheduler"])
def test_a_denoiser_and_its_scheduler_are_absent_together(copied, part):
    index = read_json(copied / "model_index.json")
    index[part] = [None, None]
    write_json(copied / "model_index.json", index)
    with pytest.raises(UserError, match=f"{part}: .* is none of"):
        ParameterDiffusionPipeline.from_pretrained(copied)
