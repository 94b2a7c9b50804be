"""Principal components, and a learned correction of what they decode to.

Latents are coordinates along the zoo's principal components, each scaled to unit variance, so that
N(0, I) is the Gaussian of the zoo. A network drawn from it is usually worse than the originals:
what lies between networks is not a network. The correction moves it, by what the decoded network
does (``corrected_training.py``); encoding is linear and knows nothing of it.
"""

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from paramdiff.codec.codec import Codec, Statistics
from paramdiff.codec.linear import LinearCodec, fit_linear_codec


class CorrectedCodec(Codec):
    """Whitened principal components with a multilayer perceptron beside their decoder.

    Args:
        length: the padded vector's length.
        latent_dim: the number of components.
        width: of the perceptron's two hidden layers.
    """

    residual_std: Tensor

    @register_to_config
    def __init__(self, length: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.length, self.latent_dim = length, latent_dim
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("components", torch.zeros(latent_dim, length))
        self.register_buffer("residual_std", torch.zeros(length))
        self._register_latent_moments(latent_dim)
        self.correction = nn.Sequential(
            nn.Linear(latent_dim, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, length),
        )

    @classmethod
    def around(cls, linear: LinearCodec, vectors: Tensor, width: int) -> "CorrectedCodec":
        """A codec whose correction is 0 as yet.

        Args:
            linear: the principal components.
            vectors: the normalised vectors ``[N, length]`` that they were fitted to.
            width: of the correction's hidden layers, which draw their weights from torch's global
                generator.

        Returns:
            The codec; its components are scaled to the latents' standard deviations.
        """
        codec = cls(length=linear.length, latent_dim=linear.latent_dim, width=width)
        scale = linear.encode(vectors).std(0)
        codec.mean.copy_(linear.mean)
        codec.components.copy_(linear.components * scale[:, None])
        codec.residual_std.copy_(linear.residual_std)
        last = codec.correction[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return codec

    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Normalised vectors ``[B, length]`` to coordinates ``[B, latent_dim]``."""
        along = (vectors - self.mean) @ self.components.T
        return along / self.components.square().sum(1)

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Coordinates ``[B, latent_dim]`` to corrected normalised vectors ``[B, length]``."""
        return latents @ self.components + self.mean + self.correction(latents)


def fit_corrected_codec(
    vectors: Tensor, explained_variance: float, *, residual: bool, width: int
) -> CorrectedCodec:
    """Fit the components; the correction is 0 as yet. See ``fit_linear_codec``.

    Args:
        vectors: normalised vectors ``[N, length]``, at least two.
        explained_variance: the share of the zoo's variance to keep, in (0, 1].
        residual: whether the rest is modelled as independent noise.
        width: of the correction's hidden layers.

    Returns:
        The codec.
    """
    linear = fit_linear_codec(vectors, explained_variance, residual=residual)
    return CorrectedCodec.around(linear, vectors, width)
