"""Distributions with the full covariance of the originals: Gaussian, mixture, kernel density.

Every draw is a combination of the originals, so that it lies in their affine space.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from paramdiff.methods.method import Baseline, Construction, Material
from paramdiff.methods.subspace import combined


def gaussian_full(scale: float) -> Baseline:
    """Draws from the normal distribution with the originals' mean and full covariance.

    ``scale`` multiplies standard deviations.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        num = len(material.originals)
        draws = torch.randn(count, num, generator=generator)
        return Construction(combined(material.originals, 1 / num + scale * _deviations(draws)))

    return Baseline(f"gaussian_full@{scale}", build, min_originals=2, finishes=True)


def mixture(scale: float) -> Baseline:
    """A mixture of Gaussians with full covariances, one per k-means cluster of the originals.

    Clusters are drawn in proportion to their originals; one of a single original spreads as all
    clusters do on average. ``scale`` multiplies standard deviations within clusters.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        clusters, num = material.embedding.clusters, len(material.originals)
        members = F.one_hot(clusters.labels, clusters.number).double()  # [N, K]
        sizes = members.sum(0)
        means = members / sizes  # [N, K]: shares of originals in the mean of each cluster
        source = torch.randint(num, (count,), generator=generator)
        own = clusters.labels[source]
        draws = torch.randn(count, num, generator=generator).double()
        alone = sizes[own] == 1
        degrees = torch.where(alone, num - clusters.number, sizes[own] - 1).clamp(min=1)
        within = torch.where(alone[:, None], 1.0, members[:, own].T)  # [M, N]
        drawn = draws * within / degrees.sqrt()[:, None]
        deviations = drawn - (drawn @ means) @ members.T
        weights = means[:, own].T + scale * deviations
        tried = ", ".join(map(str, clusters.tried))
        facts = {
            "Components of the mixture": f"{clusters.number}, of {tried}, by held-out likelihood"
        }
        return Construction(combined(material.originals, weights), facts=facts)

    return Baseline(f"mixture@{scale}", build, min_originals=2, finishes=True)


def kde(bandwidth: float | None = None) -> Baseline:
    """A kernel density: an original, and a draw with ``bandwidth`` times the covariance's root.

    Kernels are shaped like the covariance of all originals, as those of
    ``scipy.stats.gaussian_kde``, here in all N - 1 dimensions. Without a bandwidth it is chosen by
    held-out likelihood (``Embedding.bandwidth``). Schuerholt et al. (2022) sample networks from
    kernel densities, too: of each latent dimension of an autoencoder by itself (authors' code).
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        num = len(material.originals)
        width = material.embedding.bandwidth if bandwidth is None else bandwidth
        source = torch.randint(num, (count,), generator=generator)
        draws = torch.randn(count, num, generator=generator)
        weights = F.one_hot(source, num) + width * _deviations(draws)
        facts = {"Bandwidth of the kernel density": f"{width:.3g}, by held-out likelihood"}
        return Construction(
            combined(material.originals, weights), source, facts=facts if bandwidth is None else {}
        )

    name = "kde" if bandwidth is None else f"kde@{bandwidth}"
    return Baseline(name, build, min_originals=2, finishes=True)


def _deviations(draws: Tensor) -> Tensor:
    """Normal numbers ``[M, N]`` to weights of originals: a draw with their covariance, about 0."""
    centered = draws - draws.mean(1, keepdim=True)
    return centered / (draws.shape[1] - 1) ** 0.5
