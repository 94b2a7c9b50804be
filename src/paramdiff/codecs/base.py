"""Base of all codecs: ``encode`` and ``decode`` between normalized vectors and latents.

A codec knows no task and no checkpoint; it sees normalized, padded vectors ``[B, length]``. It
also carries the mean and standard deviation of the training latents. The ``default`` preset
standardizes the diffusion's latents with them (the authors' own remedy for generated networks at
chance, their issue 20); every preset scales samples about that mean.

To add a codec, write one file with its settings and its class, and add the class to ``CODECS`` in
``registry.py``. Settings of the built-in ones lie apart, in ``codec_settings.py``, so that reading
a recipe loads no torch.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from paramdiff.codecs.codec_settings import CodecSettings, Statistics
from paramdiff.component import Component
from paramdiff.progress import Progress, ignore_progress
from paramdiff.training_loop import TrainingResult


@dataclass(frozen=True)
class Examples:
    """Training examples that decoded networks are run on.

    Attributes:
        logits: a normalized vector ``[length]`` and rows ``[B]`` to logits ``[B, K]``, through
            which gradients reach the vector.
        labels: ``[E]``.
    """

    logits: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor


class Codec(Component):
    """A pair of maps between vectors ``[B, length]`` and latents ``[B, latent_dim]``."""

    settings_class: ClassVar[type[CodecSettings]]
    length: int
    latent_dim: int
    residual_std: Tensor | None
    """``[length]``; standard deviation of what the codec drops, added to generated vectors as
    noise."""

    @classmethod
    def build(cls, settings: Any, length: int) -> "Codec | None":
        """Build the untrained codec.

        Args:
            settings: an instance of ``settings_class``.
            length: the padded vector's length.

        Returns:
            The codec; None if its size is known only once it is fitted.

        Raises:
            UserError: the sizes do not fit the length.
        """
        return None

    @classmethod
    @abstractmethod
    def fit(
        cls,
        vectors: Tensor,
        settings: Any,
        *,
        seed: int,
        device: torch.device,
        examples: Examples | None = None,
        state_file: Path | None = None,
        progress: Progress = ignore_progress,
    ) -> tuple["Codec", TrainingResult]:
        """Fit a codec to the originals.

        Args:
            vectors: normalized vectors ``[N, length]``, possibly memory-mapped.
            settings: an instance of ``settings_class``.
            seed: seed of the initial weights, the batches and the noise.
            device: device to train on.
            examples: task data, given if ``settings.learns_from`` is not None.
            state_file: see ``training_loop.train``; arrays larger than memory lie beside it.
            progress: see ``training_loop.train``.

        Returns:
            The codec in evaluation mode on the CPU, and its losses.

        Raises:
            UserError: the codec cannot be fitted to these vectors.
        """

    def _register_latent_moments(self, latent_dim: int) -> None:
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_std", torch.ones(latent_dim))

    @abstractmethod
    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Encode normalized vectors ``[B, length]`` as latents ``[B, latent_dim]``."""

    @abstractmethod
    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Decode latents ``[B, latent_dim]`` to normalized vectors ``[B, length]``."""

    def fit_latent_moments(self, latents: Tensor) -> None:
        """Store mean and standard deviation of the originals' latents ``[N, latent_dim]``.

        A dimension in which all checkpoints agree keeps a standard deviation of 1.
        """
        std = latents.std(0) if len(latents) > 1 else torch.ones_like(self.latent_std)
        self.latent_mean.copy_(latents.mean(0))
        self.latent_std.copy_(torch.where(std > 1e-8, std, torch.ones_like(std)))

    def standardize(self, latents: Tensor) -> Tensor:
        """Shift and scale latents ``[B, latent_dim]`` to mean 0 and standard deviation 1."""
        return (latents - self.latent_mean) / self.latent_std

    def destandardize(self, latents: Tensor) -> Tensor:
        """Invert ``standardize``."""
        return latents * self.latent_std + self.latent_mean


MAX_DECODED = 64
MAX_DECODED_VALUES = 1 << 22


@torch.no_grad()
def encode_all(codec: Codec, vectors: Tensor, batch_size: int = 64) -> Tensor:
    """Encode all vectors under running statistics, ``[N, latent_dim]``."""
    return torch.cat([codec.encode(block) for block in vectors.split(batch_size)])


def decoding_batch(length: int) -> int:
    """Return the number of vectors that are decoded together: few if they are long."""
    return max(1, min(MAX_DECODED, MAX_DECODED_VALUES // length))


@torch.no_grad()
def decode_all(
    codec: Codec, latents: Tensor, statistics: Statistics, batch_size: int | None = None
) -> Tensor:
    """Decode all latents to vectors ``[M, length]``, in batches padded to one size.

    The padding keeps a vector's bits independent of how many others are decoded with it.
    """
    size = batch_size or decoding_batch(codec.length)
    parts = []
    for block in latents.split(size):
        missing = size - len(block)
        padded = torch.cat([block, block[-1:].expand(missing, -1)])
        parts.append(codec.decode(padded, statistics)[: len(block)])
    return torch.cat(parts)
