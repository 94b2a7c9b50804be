"""Fit a codec to a zoo's vectors (method.md 2.4)."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.codec.codec import Codec, Statistics
from paramdiff.codec.convolutional import (
    CHANNELS,
    KERNEL_SIZE,
    ConvolutionalCodec,
    reconstruction_loss,
)
from paramdiff.codec.corrected_training import (
    CorrectedCodecSettings,
    Examples,
    train_corrected_codec,
)
from paramdiff.codec.linear import ComponentsSettings, fit_linear_codec
from paramdiff.engine import Optimisation, TrainingResult, train
from paramdiff.processes import own_share
from paramdiff.progress import Progress, ignore_progress
from paramdiff.settings import Settings

MAX_DECODED = 64
MAX_DECODED_VALUES = 1 << 22


class LinearCodecSettings(ComponentsSettings):
    """Principal components of the zoo."""

    kind: Literal["linear"]

    @property
    def is_whitened(self) -> bool:
        """Each component keeps its own spread."""
        return False


class ConvolutionalCodecSettings(Settings):
    """The paper's autoencoder and its training."""

    kind: Literal["convolutional"]
    latent_dim: int = Field(gt=0, description="size of the latent")
    channels: tuple[int, ...] = Field(CHANNELS, description="encoder channels, mirrored to decode")
    kernel_size: int = Field(KERNEL_SIZE, gt=0, description="of every convolution; odd")
    target: Literal["clean", "noisy"] = Field(
        description="reconstruct the clean vector (paper) or the noised input (authors' code)"
    )
    input_noise: float = Field(
        ge=0, description="standard deviation added to the vector (sigma_v)"
    )
    latent_noise: float = Field(
        ge=0, description="standard deviation added to the latent (sigma_z)"
    )
    kl_weight: float = Field(
        0.0, ge=0, description="weight of the KL term; above 0 a real VAE with learned variance"
    )
    statistics: Statistics = Field(
        description="normalisation statistics when decoding: each sample's own (in effect the "
        "authors') or running averages"
    )
    training: Optimisation = Field(description="how the autoencoder is trained")

    @property
    def is_whitened(self) -> bool:
        """A variational autoencoder is trained to have latents that follow N(0, I)."""
        return self.kl_weight > 0


AnyCodecSettings = LinearCodecSettings | ConvolutionalCodecSettings | CorrectedCodecSettings
CodecSettings = Annotated[AnyCodecSettings, Field(discriminator="kind")]


def train_codec(
    vectors: Tensor,
    settings: AnyCodecSettings,
    *,
    seed: int,
    device: torch.device,
    examples: Examples | None = None,
    state_file: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[Codec, TrainingResult]:
    """Fit the codec that the settings describe.

    Args:
        vectors: normalised vectors ``[N, length]``, possibly memory-mapped.
        settings: the codec and its training.
        seed: of the initial weights, the batches and the noise.
        device: where to train.
        examples: what decoded networks are run on, where the codec is trained by behaviour.
        state_file: see ``engine.train``; what is too large for memory lies beside it.
        progress: see ``engine.train``.

    Returns:
        The codec in evaluation mode on the CPU, and its losses (none for the linear codec).

    Raises:
        UserError: the latent is larger than the vector, the processes cannot share a batch, or a
            correction has too few checkpoints or diverged.
    """
    if isinstance(settings, LinearCodecSettings):
        codec = fit_linear_codec(
            vectors,
            settings.explained_variance,
            residual=settings.residual,
            scratch=None if state_file is None else state_file.parent,
        )
        return codec, TrainingResult([], 0.0)
    if isinstance(settings, CorrectedCodecSettings):
        assert examples is not None
        return train_corrected_codec(
            vectors,
            settings,
            examples,
            seed=seed,
            device=device,
            state_file=state_file,
            progress=progress,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConvolutionalCodec(
            length=vectors.shape[1],
            latent_dim=settings.latent_dim,
            channels=settings.channels,
            kernel_size=settings.kernel_size,
        )
    network.fc_var.requires_grad_(settings.kl_weight > 0)  # nothing else reads what it gives
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
