"""Densities that follow clusters and single originals: a mixture of Gaussians, kernels.

Every draw is a combination of the originals, so that it lies in their affine space.
"""

import torch
from torch.nn import functional as F

from paramdiff.methods.combinations import combined, deviations
from paramdiff.methods.draws import Draws
from paramdiff.methods.gaussians import PURPLE
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples


def sample_mixture(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Draw from Gaussians with full covariances, one per k-means cluster of the originals.

    Clusters are drawn in proportion to their originals; one of a single original spreads as all
    clusters do on average. ``scale`` multiplies standard deviations within clusters.
    """
    clusters, num = context.embedding.clusters, len(context.originals)
    members = F.one_hot(clusters.labels, clusters.number).double()  # [N, K]
    sizes = members.sum(0)
    means = members / sizes  # [N, K]: shares of originals in the mean of each cluster
    own = clusters.labels[draws.integers(num)]
    normal = draws.normal(num).double()
    alone = sizes[own] == 1
    degrees = torch.where(alone, num - clusters.number, sizes[own] - 1).clamp(min=1)
    within = torch.where(alone[:, None], 1.0, members[:, own].T)  # [M, N]
    drawn = normal * within / degrees.sqrt()[:, None]
    weights = means[:, own].T + scale * (drawn - (drawn @ means) @ members.T)
    tried = ", ".join(map(str, clusters.tried))
    facts = {"Components of the mixture": f"{clusters.number}, of {tried}, by held-out likelihood"}
    return Samples(combined(context.originals, weights), facts=facts)


def sample_kde(context: MethodContext, draws: Draws, bandwidth: float | None) -> Samples:
    """Draw originals, and about each a deviation of ``bandwidth`` times the covariance's root.

    Kernels are shaped like the covariance of all originals, as those of
    ``scipy.stats.gaussian_kde``, here in all N - 1 dimensions. Without a bandwidth it is chosen by
    held-out likelihood (``Embedding.bandwidth``). Schuerholt et al. (2022) sample networks from
    kernel densities, too: of each latent dimension of an autoencoder by itself (authors' code).
    """
    num = len(context.originals)
    width = context.embedding.bandwidth if bandwidth is None else bandwidth
    source = draws.integers(num)
    weights = F.one_hot(source, num) + width * deviations(draws.normal(num))
    facts = {"Bandwidth of the kernel density": f"{width:.3g}, by held-out likelihood"}
    return Samples(
        combined(context.originals, weights), source, facts=facts if bandwidth is None else {}
    )


MIXTURE = Method(
    "mixture",
    label="Mixture of Gaussians",
    label_at="Mixture of Gaussians, scale {}",
    phrase="a mixture of Gaussians",
    phrase_at="a mixture of Gaussians at scale {}",
    short_phrase="a mixture of Gaussians",
    reference="K-means clusters, each with its mean and sample covariance; their number by the "
    "held-out likelihood of Gaussians shrunk as by Ledoit and Wolf 2004",
    style=Style(PURPLE, "8"),
    sample=sample_mixture,
    strengths=Strengths((1.0,), (0.01, 3.0)),
    min_originals=2,
    finish="batchnorm",
)
KDE = Method(
    "kde",
    label="Kernel density fit",
    label_at="Kernel density fit, bandwidth {}",
    phrase="a kernel density",
    phrase_at="a kernel density with a bandwidth of {} standard deviations",
    short_phrase="a kernel density",
    reference="Gaussian kernels with the covariance of all originals, as scipy.stats.gaussian_kde "
    "(Silverman 1986); compare Schuerholt et al. 2022 (arXiv 2209.14733), in latents",
    style=Style(PURPLE, "p"),
    sample=sample_kde,
    strengths=Strengths((None, 0.3), (0.01, 3.0)),
    min_originals=2,
    finish="batchnorm",
)
