"""The paper's 1-D convolutional autoencoder, layer by layer (the authors' ``model/pdiff.py``).

Encoder: five stride-2 convolutions (kernel 7, BatchNorm, LeakyReLU), flattened, then two linear
layers. Decoder: a linear layer, five stride-2 transposed convolutions (BatchNorm, ELU) and one
convolution to a single channel. The authors never leave training mode, so that their decoder
normalizes a single sample with its own statistics; here that is the argument ``statistics``, and
``sample`` is the same for a whole batch (instance normalization; equal up to rounding).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.codecs.base import Codec, Examples
from paramdiff.codecs.codec_settings import (
    CHANNELS,
    KERNEL_SIZE,
    AutoencoderCodecSettings,
    Statistics,
)
from paramdiff.errors import UserError
from paramdiff.processes import own_share
from paramdiff.progress import Progress, ignore_progress
from paramdiff.training_loop import TrainingResult, train


class SwitchedBatchNorm(nn.BatchNorm1d):
    """BatchNorm whose statistics are chosen by the call rather than by the module's mode."""

    def forward(self, x: Tensor, statistics: Statistics = "running") -> Tensor:
        """Normalize ``[B, C, L]``; running averages move only in training mode with ``batch``."""
        if statistics == "sample":
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        if statistics == "running":
            mean, variance = self.running_mean, self.running_var
            return F.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        if self.training:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class Block(nn.Module):
    """A convolution, its normalization and its activation."""

    def __init__(self, convolution: nn.Module, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = SwitchedBatchNorm(channels)
        self.activation = activation

    def forward(self, x: Tensor, statistics: Statistics) -> Tensor:
        """Map ``[B, C, L]`` to ``[B, channels, L / 2]`` or ``[B, channels, 2 L]``."""
        return self.activation(self.norm(self.convolution(x), statistics))


class AutoencoderCodec(Codec):
    """The paper's autoencoder.

    Args:
        length: the padded vector's length, a multiple of ``2 ** len(channels)``.
        latent_dim: the latent's size, at most ``length``.
        channels: the encoder's channels; the decoder mirrors them.
        kernel_size: kernel size of every convolution; odd.

    Raises:
        UserError: the latent is larger than the vector, or the length cannot be halved so often.
    """

    settings_class = AutoencoderCodecSettings

    @register_to_config
    def __init__(
        self,
        length: int,
        latent_dim: int,
        channels: Sequence[int] = CHANNELS,
        kernel_size: int = KERNEL_SIZE,
    ) -> None:
        super().__init__()
        if latent_dim > length:
            raise UserError(
                f"codec.latent_dim: {latent_dim} is more than the padded vector's length, {length}"
            )
        if length % 2 ** len(channels):
            raise UserError(
                f"codec.channels: {len(channels)} halvings need a vector length divisible by "
                f"{2 ** len(channels)}, found {length}"
            )
        self.length, self.latent_dim = length, latent_dim
        widths = [1, *channels]
        self.bottom = (channels[-1], length // 2 ** len(channels))
        pad = kernel_size // 2

        def down(c_in: int, c_out: int) -> Block:
            convolution = nn.Conv1d(c_in, c_out, kernel_size, 2, pad)
            return Block(convolution, c_out, nn.LeakyReLU())

        def up(c_in: int, c_out: int) -> Block:
            convolution = nn.ConvTranspose1d(c_in, c_out, kernel_size, 2, pad, output_padding=1)
            return Block(convolution, c_out, nn.ELU())

        self.encoder = nn.ModuleList(map(down, widths[:-1], widths[1:]))
        flat = channels[-1] * self.bottom[1]
        self.to_latent = nn.Linear(flat, latent_dim)
        self.fc_mu = nn.Linear(latent_dim, latent_dim)
        self.fc_var = nn.Linear(latent_dim, latent_dim)
        self.from_latent = nn.Linear(latent_dim, flat)
        upward = [*reversed(channels), channels[0]]
        self.decoder = nn.ModuleList(map(up, upward[:-1], upward[1:]))
        self.to_vector = nn.Conv1d(channels[0], 1, kernel_size, 1, pad)
        self._register_latent_moments(latent_dim)
        self.register_buffer("residual_std", None)

    @classmethod
    def build(cls, settings: AutoencoderCodecSettings, length: int) -> "AutoencoderCodec":
        """See ``Codec``."""
        return cls(
            length=length,
            latent_dim=settings.latent_dim,
            channels=settings.channels,
            kernel_size=settings.kernel_size,
        )

    @classmethod
    def fit(
        cls,
        vectors: Tensor,
        settings: AutoencoderCodecSettings,
        *,
        seed: int,
        device: torch.device,
        examples: Examples | None = None,
        state_file: Path | None = None,
        progress: Progress = ignore_progress,
    ) -> tuple[Codec, TrainingResult]:
        """See ``Codec``; the processes of a launch train together and share each batch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls.build(settings, vectors.shape[1])
        network.fc_var.requires_grad_(settings.kl_weight > 0)  # otherwise without effect
        size = settings.training.batch_size
        share = own_share(size, device, "codec.training.batch_size")

        def batch_loss(module: Any, step: int, generator: torch.Generator) -> Tensor:
            batch = vectors[torch.randint(len(vectors), (size,), generator=generator)]
            input_noise = torch.randn(batch.shape, generator=generator) * settings.input_noise
            latent_noise = torch.randn(size, settings.latent_dim, generator=generator)
            if not settings.kl_weight:
                latent_noise = latent_noise * settings.latent_noise
            return reconstruction_loss(
                module,
                batch[share].to(device),
                input_noise[share].to(device),
                latent_noise[share].to(device),
                target=settings.target,
                kl_weight=settings.kl_weight,
            )

        network.train()
        result = train(
            network,
            batch_loss,
            settings.training,
            seed=seed,
            device=device,
            is_shared=True,
            state_file=state_file,
            progress=progress,
        )
        return network, result

    def encode_distribution(
        self, vectors: Tensor, statistics: Statistics = "running"
    ) -> tuple[Tensor, Tensor]:
        """Compute the latent's mean and log-variance.

        Args:
            vectors: normalized vectors ``[B, length]``.
            statistics: see ``Statistics``.

        Returns:
            Two tensors ``[B, latent_dim]``.
        """
        x = vectors[:, None, :]
        for block in self.encoder:
            x = block(x, statistics)
        hidden = self.to_latent(x.flatten(1))
        return self.fc_mu(hidden), self.fc_var(hidden)

    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Encode normalized vectors ``[B, length]`` as the latents' means ``[B, latent_dim]``."""
        return self.encode_distribution(vectors, statistics)[0]

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Decode latents ``[B, latent_dim]`` to normalized vectors ``[B, length]``."""
        x = self.from_latent(latents).unflatten(1, self.bottom)
        for block in self.decoder:
            x = block(x, statistics)
        return self.to_vector(x)[:, 0, :]


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute KL(N(mean, exp(log_variance)) || N(0, I)), summed over dimensions; batch mean."""
    return (-0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)).mean()


def reconstruction_loss(
    codec: AutoencoderCodec,
    vectors: Tensor,
    input_noise: Tensor,
    latent_noise: Tensor,
    *,
    target: str,
    kl_weight: float,
) -> Tensor:
    """Compute the loss under batch statistics (paper equation 5; ``model/pdiff.py``).

    Args:
        codec: the autoencoder; its running averages move if it is in training mode.
        vectors: clean normalized vectors ``[B, length]``.
        input_noise: added to the input, ``[B, length]``, already scaled.
        latent_noise: added to the latent, ``[B, latent_dim]``; with ``kl_weight`` it is a standard
            normal draw that the predicted standard deviation scales (a real VAE).
        target: ``clean`` (the paper's text) or ``noisy`` (the authors' code).
        kl_weight: weight of the summed KL against the mean squared error; 0 for p-diff.

    Returns:
        A scalar.
    """
    noisy = vectors + input_noise
    mean, log_variance = codec.encode_distribution(noisy, "batch")
    if kl_weight:
        latent_noise = latent_noise * torch.exp(0.5 * log_variance)
    reconstruction = codec.decode(mean + latent_noise, "batch")
    loss = F.mse_loss(reconstruction, noisy if target == "noisy" else vectors)
    return loss + kl_weight * kl_divergence(mean, log_variance) if kl_weight else loss
