"""Principal components of the zoo (the reconstruction-optimal linear codec).

With N checkpoints it is exact at N - 1 components; fewer leave out the directions in which the
checkpoints differ least. The rest is modelled as independent noise per coordinate
(factor analysis on principal components; Tipping and Bishop 1999): without it, generated vectors
would lack that share of the originals' variance.

Time, disk and the codec itself grow with N x P, memory does not: the fit goes through the N x N
matrix of inner products (Sirovich 1987, method of snapshots), both are read and written in blocks
of columns, and components that are larger than the memory budget lie in a file. A loaded codec's
do so always: safetensors maps them.
"""

from pathlib import Path

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from paramdiff.codecs.base import Codec, Examples
from paramdiff.codecs.codec_settings import PCACodecSettings, Statistics
from paramdiff.memmap import centered_products, column_blocks, empty_array, free_pages
from paramdiff.progress import Progress, ignore_progress
from paramdiff.training_loop import TrainingResult


class PCACodec(Codec):
    """Projection on orthonormal directions around a mean.

    Args:
        length: the padded vector's length.
        latent_dim: the number of directions.
    """

    settings_class = PCACodecSettings

    @register_to_config
    def __init__(self, length: int, latent_dim: int) -> None:
        super().__init__()
        self.length, self.latent_dim = length, latent_dim
        self.register_buffer("mean", torch.zeros(length))
        # expanded, so that they take no memory before they are fitted or loaded
        self.register_buffer("components", torch.zeros(1, 1).expand(latent_dim, length))
        self.register_buffer("residual_std", torch.zeros(length))
        self._register_latent_moments(latent_dim)

    @classmethod
    def fit(
        cls,
        vectors: Tensor,
        settings: PCACodecSettings,
        *,
        seed: int,
        device: torch.device,
        examples: Examples | None = None,
        state_file: Path | None = None,
        progress: Progress = ignore_progress,
    ) -> tuple[Codec, TrainingResult]:
        """See ``Codec``; nothing is trained, so there are no losses."""
        codec = fit_pca_codec(
            vectors,
            settings.explained_variance,
            residual=settings.residual,
            scratch=None if state_file is None else state_file.parent,
        )
        return codec, TrainingResult([], 0.0)

    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Project normalized vectors ``[B, length]`` to coordinates ``[B, latent_dim]``."""
        latents = self.mean.new_zeros(len(vectors), self.latent_dim)
        for columns in column_blocks(vectors):
            centered = vectors[:, columns] - self.mean[columns]
            latents = latents + centered @ self.components[:, columns].T
            free_pages(self.components)
        return latents

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Map coordinates ``[B, latent_dim]`` to normalized vectors ``[B, length]``."""
        return latents @ self.components + self.mean


def fit_pca_codec(
    vectors: Tensor,
    explained_variance: float,
    *,
    residual: bool = True,
    scratch: Path | None = None,
) -> PCACodec:
    """Fit the fewest principal components that hold a share of the zoo's variance.

    Args:
        vectors: normalized vectors ``[N, length]``, possibly memory-mapped.
        explained_variance: the share to keep, in (0, 1].
        residual: model the rest as independent noise, rather than drop it.
        scratch: a folder for components that are larger than the memory budget; None keeps them
            in memory.

    Returns:
        A codec with at least one component, its signs fixed by each component's largest entry.
    """
    num, length = vectors.shape
    variances, coefficients = torch.linalg.eigh(centered_products(vectors))
    variances, coefficients = variances.flip(0).clamp(min=0), coefficients.flip(1)
    usable = max(1, int((variances > 1e-10 * variances[0]).sum()))
    share = variances.cumsum(0) / variances.sum().clamp(min=1e-300)
    count = min(usable, int((share < explained_variance - 1e-12).sum()) + 1)
    to_unit_length = coefficients[:, :count] / variances[:count].sqrt().clamp(min=1e-150)

    codec = PCACodec(length=length, latent_dim=count)
    codec.components = empty_array(count, length, torch.float32, scratch)
    largest = torch.zeros(count, dtype=torch.float64)
    for columns in column_blocks(vectors):
        block = vectors[:, columns].double()
        codec.mean[columns] = block.mean(0)
        directions = to_unit_length.T @ (block - block.mean(0))
        codec.components[:, columns] = directions
        found = directions.gather(1, directions.abs().argmax(1, keepdim=True))[:, 0]
        largest = torch.where(found.abs() > largest.abs(), found, largest)
        if residual and num > 1:
            # the column variances that the components explain; centered columns are V = U S D
            explained = (variances[:count, None] * directions**2).sum(0)
            rest = block.var(0) - explained / (num - 1)
            codec.residual_std[columns] = rest.clamp(min=0).sqrt().float()
        free_pages(codec.components)
    for columns in column_blocks(codec.components):
        codec.components[:, columns] *= largest.sign()[:, None]
    return codec.eval()
