"""A codec and a denoiser from outside the package work wherever the shipped ones do."""

from typing import Literal

import pytest
import torch
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F

from paramdiff.codecs.base import Codec
from paramdiff.codecs.codec_settings import CodecSettings
from paramdiff.codecs.registry import CODECS
from paramdiff.commands.check import check_recipe
from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.base import Denoiser, TimestepEmbedding
from paramdiff.diffusion.denoisers.denoiser_settings import DenoiserSettings
from paramdiff.diffusion.denoisers.registry import DENOISERS
from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.run import make_networks
from paramdiff.storage import read_json, read_tensors
from paramdiff.tasks.registry import describe_task
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from tests.conftest import TINY

CPU = torch.device("cpu")
CODEC = "{kind: tied, latent_dim: 8, training: {num_steps: 5, batch_size: 4, lr: 1.0e-3}}"
CHANGES = [*TINY, f"codec={CODEC}", "diffusion.denoiser={kind: affine, scale: 0.5}"]


class TiedCodecSettings(CodecSettings):
    kind: Literal["tied"]
    latent_dim: int
    training: Optimization

    @property
    def shared_training(self):
        return self.training


class TiedCodec(Codec):
    """One matrix that encodes, and decodes by its transpose."""

    settings_class = TiedCodecSettings

    @register_to_config
    def __init__(self, length, latent_dim):
        super().__init__()
        self.length, self.latent_dim = length, latent_dim
        self.matrix = nn.Parameter(torch.randn(latent_dim, length) / length**0.5)
        self.register_buffer("residual_std", None)
        self._register_latent_moments(latent_dim)

    @classmethod
    def build(cls, settings, length):
        return cls(length=length, latent_dim=settings.latent_dim)

    @classmethod
    def fit(cls, vectors, settings, *, seed, device, examples=None, state_file=None, progress):
        torch.manual_seed(seed)
        codec = cls.build(settings, vectors.shape[1])

        def batch_loss(module, step, generator):
            size = (settings.training.batch_size,)
            batch = vectors[torch.randint(len(vectors), size, generator=generator)]
            return F.mse_loss(module.decode(module.encode(batch)), batch)

        result = train(
            codec,
            batch_loss,
            settings.training,
            seed=seed,
            device=device,
            is_shared=True,
            state_file=state_file,
            progress=progress,
        )
        return codec, result

    def encode(self, vectors, statistics="running"):
        return vectors @ self.matrix.T

    def decode(self, latents, statistics="running"):
        return latents @ self.matrix


class AffineDenoiserSettings(DenoiserSettings):
    kind: Literal["affine"]
    scale: float


class AffineDenoiser(Denoiser):
    """An affine map of the latent and the timestep, whose last layer has a name of its own."""

    settings_class = AffineDenoiserSettings

    @register_to_config
    def __init__(self, latent_dim, scale=1.0, conditions=()):
        super().__init__()
        self.conditions = Conditions.from_json(conditions)
        self.embedding = TimestepEmbedding(latent_dim, self.conditions.size)
        self.last = nn.Linear(latent_dim, latent_dim)
        self.scale = scale

    def forward(self, latents, timesteps, conditions=None):
        return self.last(latents + self.scale * self.embedding(timesteps, conditions))

    def zero_output(self):
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(CODECS, "tied", TiedCodec)
    monkeypatch.setitem(DENOISERS, "affine", AffineDenoiser)


def test_they_train_save_load_and_generate(registered, tmp_path):
    changes = [*CHANGES, "diffusion.conditions=[step]"]
    changes += ["diffusion.schedule.prediction_type=v_prediction", "generation.solver=ddim"]
    recipe = load_recipe("quickstart", changes)
    made = make_networks(recipe, tmp_path / "run", device="cpu")
    assert len(made.context.folder.log.losses("codec")) == 5
    index = read_json(tmp_path / "run" / "pipeline" / "model_index.json")
    assert index["codec"] == ["paramdiff", "TiedCodec"]
    assert index["denoiser"] == ["paramdiff", "AffineDenoiser"]
    pipeline = ParameterDiffusionPipeline.from_pretrained(tmp_path / "run")
    assert type(pipeline.codec) is TiedCodec and type(pipeline.denoiser) is AffineDenoiser
    assert pipeline.denoiser.scale == 0.5
    assert pipeline.conditions.names == ("step",)
    saved = read_tensors(tmp_path / "run" / "generated" / "0002.safetensors")
    # another place of a batch of another size: equal to rounding
    found = pipeline(seeds=[2])[0]
    assert found.keys() == saved.keys()
    for name, tensor in saved.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)
    pipeline.save_pretrained(tmp_path / "again")
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "again")
    assert torch.equal(again(seeds=[2]).vectors, pipeline(seeds=[2]).vectors)


def test_check_measures_them(registered):
    recipe = load_recipe("quickstart", CHANGES)
    facts = check_recipe(recipe, describe_task(recipe.task))
    length = int(facts["vector length"].replace(",", ""))
    assert facts["codec"] == "tied"
    assert facts["codec parameters"] == f"{8 * length:,}"
    embedding = (256 * 8 + 8) + (8 * 8 + 8)
    assert facts["denoiser parameters"] == f"{embedding + 8 * 8 + 8:,}"
    for stage in ("codec", "denoiser", "generation"):
        assert f"{stage} " in facts["estimated cost"]


def test_wrong_keys_name_the_nearest(registered):
    with pytest.raises(UserError, match=r"codec\.latent_dm: .*'latent_dim'"):
        load_recipe("quickstart", [*CHANGES, "codec.latent_dm=3"])
    with pytest.raises(UserError, match=r"diffusion\.denoiser\.scal: .*'scale'"):
        load_recipe("quickstart", [*CHANGES, "diffusion.denoiser.scal=3"])


def test_what_is_not_registered_is_refused(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"codec\.kind: .*'tied'"):
        load_recipe("quickstart", CHANGES)
