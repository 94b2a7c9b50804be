"""The codecs by their kind: what describes each, what it is, and how it is fitted to a zoo."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.codecs.autoencoder import (
    AutoencoderCodec,
    AutoencoderCodecSettings,
    train_convolutional_codec,
)
from paramdiff.codecs.base import Codec
from paramdiff.codecs.behavioral import (
    BehavioralCodec,
    BehavioralCodecSettings,
    Examples,
    train_corrected_codec,
)
from paramdiff.codecs.pca import PCACodec, PCACodecSettings, fit_pca_codec
from paramdiff.progress import Progress, ignore_progress
from paramdiff.training_loop import TrainingResult

AnyCodecSettings = PCACodecSettings | AutoencoderCodecSettings | BehavioralCodecSettings
CodecSettings = Annotated[AnyCodecSettings, Field(discriminator="kind")]

CODECS: dict[str, type[Codec]] = {
    "pca": PCACodec,
    "autoencoder": AutoencoderCodec,
    "behavioral": BehavioralCodec,
}


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
        vectors: normalized vectors ``[N, length]``, possibly memory-mapped.
        settings: the codec and its training.
        seed: of the initial weights, the batches and the noise.
        device: where to train.
        examples: what decoded networks are run on, where the codec is trained by behavior.
        state_file: see ``engine.train``; what is too large for memory lies beside it.
        progress: see ``engine.train``.

    Returns:
        The codec in evaluation mode on the CPU, and its losses (none for the linear codec).

    Raises:
        UserError: the latent is larger than the vector, the processes cannot share a batch, or a
            correction has too few checkpoints or diverged.
    """
    if isinstance(settings, PCACodecSettings):
        codec = fit_pca_codec(
            vectors,
            settings.explained_variance,
            residual=settings.residual,
            scratch=None if state_file is None else state_file.parent,
        )
        return codec, TrainingResult([], 0.0)
    if isinstance(settings, BehavioralCodecSettings):
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
    return train_convolutional_codec(
        vectors, settings, seed=seed, device=device, state_file=state_file, progress=progress
    )
