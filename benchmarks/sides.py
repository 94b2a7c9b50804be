"""Our modules and the authors' behind one interface, so that a check is written once for both.

The authors' code (github.com/NUS-HPC-AI-Lab/Neural-Network-Diffusion) is never copied: it is
imported from the checkout that the user names. Every method takes its noise as an argument; where
the authors draw inside a call, the drawing function is replaced for the length of that call.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from torch import Tensor, nn

from paramdiff.codecs.autoencoder import AutoencoderCodec, reconstruction_loss
from paramdiff.codecs.codec_settings import CHANNELS, Statistics
from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.denoiser_settings import CHANNELS as DENOISER_CHANNELS
from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.sampling import initial_noise, sample_latents
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import denoising_loss
from paramdiff.errors import UserError

BETA = (1e-4, 2e-2)
INPUT_NOISE, LATENT_NOISE = 0.001, 0.1
CPU = torch.device("cpu")

_CODEC_PREFIXES = {
    **{f"encoder.{i}.convolution": f"encoder.{i}.0" for i in range(5)},
    **{f"encoder.{i}.norm": f"encoder.{i}.1" for i in range(5)},
    "to_latent": "to_latent",
    "fc_mu": "fc_mu",
    "fc_var": "fc_var",
    "from_latent": "to_decode",
    **{f"decoder.{i}.convolution": f"decoder.{i}.0" for i in range(4)},
    **{f"decoder.{i}.norm": f"decoder.{i}.1" for i in range(4)},
    "decoder.4.convolution": "final_layer.0",
    "decoder.4.norm": "final_layer.1",
    "to_vector": "final_layer.3",
}
_DENOISER_PREFIXES = {
    "embedding.hidden": "time_embedder.mlp.0",
    "embedding.output": "time_embedder.mlp.2",
    **{f"layers.{i}.0": f"encoder_list.{i}.0" for i in range(5)},
    **{f"layers.{i}.1": f"encoder_list.{i}.1.0" for i in range(5)},
    **{f"layers.{i}.0": f"decoder_list.{i - 5}.0" for i in (5, 6)},
    **{f"layers.{i}.1": f"decoder_list.{i - 5}.1.0" for i in (5, 6)},
    "output": "decoder_list.2.0",
}
_ONLY_OURS = {"latent_mean", "latent_std"}
_ONLY_THEIRS = {"time_embedder.freqs"}


class Side:
    """A module whose tensors go by our names, whoever wrote it."""

    module: nn.Module
    prefixes: dict[str, str] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Our name to the module's own parameter or buffer, without what only one side has."""
        found = self.module.state_dict(keep_vars=True)
        if self.prefixes is None:
            return {name: t for name, t in found.items() if name not in _ONLY_OURS}
        ours = {theirs: name for name, theirs in self.prefixes.items()}
        renamed = {}
        for name in found.keys() - _ONLY_THEIRS:
            prefix, _, kind = name.rpartition(".")
            renamed[f"{ours[prefix]}.{kind}"] = found[name]
        return renamed

    @torch.no_grad()
    def copy_from(self, other: "Side") -> None:
        """Take over the other side's tensors; both must have the same names."""
        ours, theirs = self.tensors(), other.tensors()
        if ours.keys() != theirs.keys():
            raise UserError(f"names without a partner: {sorted(ours.keys() ^ theirs.keys())}")
        for name, tensor in ours.items():
            tensor.copy_(theirs[name])

    def gradient(self, loss: Tensor) -> dict[str, Tensor]:
        """Our name to the loss's gradient, zero where the loss does not depend on a parameter."""
        wanted = {n: t for n, t in self.tensors().items() if t.requires_grad}
        found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        return {
            name: torch.zeros_like(tensor) if gradient is None else gradient
            for (name, tensor), gradient in zip(wanted.items(), found, strict=True)
        }


class OurCodec(Side):
    """``AutoencoderCodec``."""

    def __init__(self, length: int, latent_dim: int) -> None:
        self.module = AutoencoderCodec(length=length, latent_dim=latent_dim)

    def encode(self, vectors: Tensor, statistics: Statistics) -> Tensor:
        """Vectors ``[B, length]`` to latents ``[B, latent_dim]``."""
        return self.module.train(statistics == "batch").encode(vectors, statistics)

    def decode(self, latents: Tensor, statistics: Statistics) -> Tensor:
        """Latents ``[B, latent_dim]`` to vectors ``[B, length]``."""
        return self.module.train(statistics == "batch").decode(latents, statistics)

    def loss(
        self, vectors: Tensor, noise: Tensor, latent_noise: Tensor, kl_weight: float
    ) -> Tensor:
        """The loss against the noisy input; the noise is standard normal, unscaled."""
        if not kl_weight:
            latent_noise = LATENT_NOISE * latent_noise
        return reconstruction_loss(
            self.module.train(),
            vectors,
            INPUT_NOISE * noise,
            latent_noise,
            target="noisy",
            kl_weight=kl_weight,
        )


class TheirCodec(Side):
    """``model.pdiff.OneDimVAE``."""

    prefixes = _CODEC_PREFIXES

    def __init__(self, reference: "Reference", length: int, latent_dim: int) -> None:
        self.module = reference.pdiff.OneDimVAE(list(CHANNELS), latent_dim, length)

    def encode(self, vectors: Tensor, statistics: Statistics) -> Tensor:
        """Vectors ``[B, length]`` to latents ``[B, latent_dim]``."""
        self.module.train(statistics != "running")
        blocks = vectors.split(1) if statistics == "sample" else [vectors]
        return torch.cat([self.module.encode(block)[0] for block in blocks])

    def decode(self, latents: Tensor, statistics: Statistics) -> Tensor:
        """Latents ``[B, latent_dim]`` to vectors ``[B, length]``; ``sample`` is one at a time."""
        self.module.train(statistics != "running")
        blocks = latents.split(1) if statistics == "sample" else [latents]
        return torch.cat([self.module.decode(block) for block in blocks])

    def loss(
        self, vectors: Tensor, noise: Tensor, latent_noise: Tensor, kl_weight: float
    ) -> Tensor:
        """The loss as their scripts call it, with a fixed or a learned standard deviation."""
        std = None if kl_weight else LATENT_NOISE
        with drawing(normal=[latent_noise]):
            return self.module.train()(
                x=vectors + INPUT_NOISE * noise, use_var=True, manual_std=std, kld_weight=kl_weight
            )


class OurDenoiser(Side):
    """``Conv1dDenoiser``, a diffusers scheduler and ``sample_latents``."""

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim
        self.module = Conv1dDenoiser(latent_dim=latent_dim)

    def predict(self, latents: Tensor, timesteps: Tensor, *, train: bool) -> Tensor:
        """The predicted noise ``[B, latent_dim]``."""
        return self.module.train(train)(latents, timesteps)

    def loss(self, latents: Tensor, timesteps: Tensor, eps: Tensor) -> Tensor:
        """Equation 6 for given timesteps and noise."""
        scheduler = build_scheduler(ScheduleSettings())
        return denoising_loss(self.module.train(), scheduler, latents, timesteps, eps)

    def chain(self, seed: int, num_timesteps: int, denoiser: nn.Module | None = None) -> Tensor:
        """The end ``[latent_dim]`` of all steps of ancestral sampling."""
        return sample_latents(
            denoiser or self.module.eval(),
            build_scheduler(ScheduleSettings(num_timesteps=num_timesteps)),
            [seed],
            latent_dim=self.latent_dim,
            num_inference_steps=num_timesteps,
            batch_size=1,
            device=CPU,
        )[0]


class TheirDenoiser(Side):
    """``model.pdiff.PDiff`` with its trainer and ``DDPMSampler``."""

    prefixes = _DENOISER_PREFIXES

    def __init__(self, reference: "Reference", latent_dim: int) -> None:
        self.latent_dim = latent_dim
        self.sampler = reference.diffusion.DDPMSampler
        config = {
            "layer_channels": [1, *DENOISER_CHANNELS, 1],
            "model_dim": latent_dim,
            "kernel_size": 7,
            "sample_mode": self.sampler,
            "beta": BETA,
            "T": 1000,
        }
        with patch.object(reference.pdiff.PDiff, "config", config):
            self.whole = reference.pdiff.PDiff(sequence_length=latent_dim)
        self.module = self.whole.net

    def predict(self, latents: Tensor, timesteps: Tensor, *, train: bool) -> Tensor:
        """The predicted noise ``[B, latent_dim]``."""
        return self.module.train(train)(latents, timesteps)

    def loss(self, latents: Tensor, timesteps: Tensor, eps: Tensor) -> Tensor:
        """Their training loss for given timesteps and noise."""
        with drawing(normal=[eps], integers=[timesteps]):
            return self.whole.train()(x=latents)

    def chain(self, seed: int, num_timesteps: int, denoiser: nn.Module | None = None) -> Tensor:
        """The end ``[latent_dim]`` of their chain, fed with the noise that our sampler draws."""
        sampler = self.sampler(denoiser or self.module, BETA, num_timesteps).eval()
        x, (generator,) = initial_noise([seed], self.latent_dim)
        noise = [torch.randn(x.shape, generator=generator) for _ in range(num_timesteps - 1)]
        with drawing(normal=noise):
            return sampler(x, 0.0)[0]


class Reference:
    """The authors' modules.

    Args:
        root: a checkout of their repository.

    Raises:
        UserError: the folder does not hold their ``model`` package.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not (self.root / "model" / "pdiff.py").is_file():
            raise UserError(f"--reference: expected {self.root}/model/pdiff.py, found none")
        self.pdiff = self._import("model.pdiff")
        self.diffusion = self._import("model.diffusion")

    def dataset(self) -> ModuleType:
        """Import their ``dataset`` package.

        Returns:
            The package.

        Raises:
            UserError: it is absent or cannot be imported here.
        """
        try:
            return self._import("dataset")
        except ImportError as error:
            raise UserError(f"their dataset package cannot be imported: {error}") from None

    def _import(self, name: str) -> ModuleType:
        sys.path.insert(0, str(self.root))
        try:
            found = importlib.import_module(name)
        finally:
            sys.path.remove(str(self.root))
        if self.root not in Path(str(found.__file__)).parents:
            raise UserError(f"{name}: expected the authors' module, found {found.__file__}")
        return found


@contextmanager
def drawing(normal: list[Tensor], integers: list[Tensor] | None = None) -> Iterator[None]:
    """Let ``torch.randn_like`` and ``torch.randint`` return given tensors, in order and all."""
    queues = iter(normal), iter(integers or [])

    def randn_like(tensor: Tensor) -> Tensor:
        drawn = next(queues[0])
        assert drawn.shape == tensor.shape, (drawn.shape, tensor.shape)
        return drawn

    def randint(high: int, size: tuple[int, ...], device: torch.device) -> Tensor:
        drawn = next(queues[1])
        assert drawn.shape == tuple(size) and int(drawn.max()) < high
        return drawn

    with patch("torch.randn_like", randn_like), patch("torch.randint", randint):
        yield
    assert all(next(queue, None) is None for queue in queues), "noise was left over"
