"""The linear codec: principal components of the zoo (the reconstruction-optimal linear map).

With N checkpoints it is exact at N - 1 components; fewer leave out the directions in which the
checkpoints differ least. What they leave out is modelled as independent noise per coordinate
(factor analysis on principal components; Tipping and Bishop 1999): without it, generated vectors
would lack that share of the originals' variance. Fitted through the N x N matrix of inner
products, so that vectors longer than memory are read in blocks.
"""

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from paramdiff.codec.codec import Codec, Statistics

_BLOCK_COLUMNS = 1 << 14


class LinearCodec(Codec):
    """Projection on orthonormal directions around a mean.

    Args:
        length: the padded vector's length.
        latent_dim: the number of directions.
    """

    @register_to_config
    def __init__(self, length: int, latent_dim: int) -> None:
        super().__init__()
        self.length, self.latent_dim = length, latent_dim
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("components", torch.zeros(latent_dim, length))
        self.register_buffer("residual_std", torch.zeros(length))
        self._register_latent_moments(latent_dim)

    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Normalised vectors ``[B, length]`` to coordinates ``[B, latent_dim]``."""
        return (vectors - self.mean) @ self.components.T

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Coordinates ``[B, latent_dim]`` to normalised vectors ``[B, length]``."""
        return latents @ self.components + self.mean


def fit_linear_codec(
    vectors: Tensor, explained_variance: float, *, residual: bool = True
) -> LinearCodec:
    """Fit the fewest principal components that hold a share of the zoo's variance.

    Args:
        vectors: normalised vectors ``[N, length]``.
        explained_variance: the share to keep, in (0, 1].
        residual: whether the rest is modelled as independent noise, or left out.

    Returns:
        A codec with at least one component, its signs fixed by each component's largest entry.
    """
    num, length = vectors.shape
    gram = torch.zeros(num, num, dtype=torch.float64)
    for columns in torch.arange(length).split(_BLOCK_COLUMNS):
        centred = _centred(vectors, columns)
        gram += centred @ centred.T
    variances, coefficients = torch.linalg.eigh(gram)
    variances, coefficients = variances.flip(0).clamp(min=0), coefficients.flip(1)
    usable = max(1, int((variances > 1e-10 * variances[0]).sum()))
    share = variances.cumsum(0) / variances.sum().clamp(min=1e-300)
    count = min(usable, int((share < explained_variance - 1e-12).sum()) + 1)
    to_unit_length = coefficients[:, :count] / variances[:count].sqrt().clamp(min=1e-150)

    directions = torch.cat(
        [
            to_unit_length.T @ _centred(vectors, columns)
            for columns in torch.arange(length).split(_BLOCK_COLUMNS)
        ],
        1,
    )
    largest = directions.abs().argmax(1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    codec = LinearCodec(length=length, latent_dim=count)
    codec.mean.copy_(vectors.mean(0))
    codec.components.copy_(directions)
    if residual and num > 1:
        # the column variances that the components explain; centred columns of V have V = U S D
        explained = (variances[:count, None] * directions**2).sum(0)
        rest = vectors.double().var(0) - explained / (num - 1)
        codec.residual_std.copy_(rest.clamp(min=0).sqrt())
    return codec.eval()


def _centred(vectors: Tensor, columns: Tensor) -> Tensor:
    block = vectors[:, columns].double()
    return block - block.mean(0)
