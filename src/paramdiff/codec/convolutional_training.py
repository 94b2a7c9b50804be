"""Train the paper's autoencoder (the authors' ``model/pdiff.py``)."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.codec.codec import Statistics
from paramdiff.codec.convolutional import (
    CHANNELS,
    KERNEL_SIZE,
    ConvolutionalCodec,
    reconstruction_loss,
)
from paramdiff.engine import Optimisation, TrainingResult, train
from paramdiff.processes import own_share
from paramdiff.progress import Progress, ignore_progress
from paramdiff.settings import Settings


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


def train_convolutional_codec(
    vectors: Tensor,
    settings: ConvolutionalCodecSettings,
    *,
    seed: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[ConvolutionalCodec, TrainingResult]:
    """Train the autoencoder.

    Args:
        vectors: normalised vectors ``[N, length]``, possibly memory-mapped.
        settings: the autoencoder and its training.
        seed: of the initial weights, the batches and the noise.
        device: where to train.
        state_file: see ``engine.train``.
        progress: see ``engine.train``.

    Returns:
        The codec in evaluation mode on the CPU, and its losses.

    Raises:
        UserError: the latent is larger than the vector, or the processes cannot share a batch.
    """
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
