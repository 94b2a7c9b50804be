"""What every codec is: ``encode`` and ``decode`` between normalized vectors and latents.

A codec knows no task and no checkpoint; it sees normalized, padded vectors ``[B, length]``. It
also carries the mean and standard deviation of the training latents. The ``default`` preset
standardizes the diffusion's latents with them (the authors' own remedy for generated networks at
chance, their issue 20); every preset scales the spread of samples about that mean.
"""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from paramdiff.component import Component

Statistics = Literal["sample", "batch", "running"]
"""Which statistics a codec's normalization layers use: each sample's own over its length, those of
the batch, or the running averages of training."""


class Codec(Component):
    """A pair of maps between vectors ``[B, length]`` and latents ``[B, latent_dim]``."""

    length: int
    latent_dim: int
    residual_std: Tensor | None
    """``[length]``; spread of what the codec leaves out, given back to generated vectors."""

    def _register_latent_moments(self, latent_dim: int) -> None:
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_std", torch.ones(latent_dim))

    @abstractmethod
    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Normalized vectors ``[B, length]`` to latents ``[B, latent_dim]``."""

    @abstractmethod
    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Latents ``[B, latent_dim]`` to normalized vectors ``[B, length]``."""

    def fit_latent_moments(self, latents: Tensor) -> None:
        """Remember mean and standard deviation over checkpoints of latents ``[N, latent_dim]``.

        A dimension in which all checkpoints agree keeps a standard deviation of 1.
        """
        std = latents.std(0) if len(latents) > 1 else torch.ones_like(self.latent_std)
        self.latent_mean.copy_(latents.mean(0))
        self.latent_std.copy_(torch.where(std > 1e-8, std, torch.ones_like(std)))

    def standardize(self, latents: Tensor) -> Tensor:
        """Latents ``[B, latent_dim]`` to what the denoiser learns."""
        return (latents - self.latent_mean) / self.latent_std

    def destandardize(self, latents: Tensor) -> Tensor:
        """The inverse of ``standardize``."""
        return latents * self.latent_std + self.latent_mean


MAX_DECODED = 64
MAX_DECODED_VALUES = 1 << 22


@torch.no_grad()
def encode_all(codec: Codec, vectors: Tensor, batch_size: int = 64) -> Tensor:
    """Latents ``[N, latent_dim]`` of all vectors under running statistics."""
    return torch.cat([codec.encode(block) for block in vectors.split(batch_size)])


def decoding_batch(length: int) -> int:
    """How many vectors of a length are decoded together: few where they are long."""
    return max(1, min(MAX_DECODED, MAX_DECODED_VALUES // length))


@torch.no_grad()
def decode_all(
    codec: Codec, latents: Tensor, statistics: Statistics, batch_size: int | None = None
) -> Tensor:
    """Vectors ``[M, length]`` of all latents, in batches padded to one size.

    The padding keeps a vector's bits independent of how many others are decoded with it.
    """
    size = batch_size or decoding_batch(codec.length)
    parts = []
    for block in latents.split(size):
        missing = size - len(block)
        padded = torch.cat([block, block[-1:].expand(missing, -1)])
        parts.append(codec.decode(padded, statistics)[: len(block)])
    return torch.cat(parts)
