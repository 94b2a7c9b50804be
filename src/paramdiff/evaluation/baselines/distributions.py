"""Distributions fitted to the originals and sampled: Gaussian, SWAG, kernel density."""

import torch

from paramdiff.evaluation.baselines.construction import Baseline, Construction, Material

SWAG_RANK = 20


def gaussian(scale: float, name: str | None = None) -> Baseline:
    """Independent normal draws per coordinate: the originals' mean, ``scale`` times their std.

    The control of Zeng et al. (arXiv 2506.07998), there at scale 1. At scale 0 all draws are the
    mean, so that one is made.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        originals = material.originals
        mean = originals.mean(0)
        if scale == 0:
            return Construction(mean[None].clone())
        std = originals.std(0) if len(originals) > 1 else torch.zeros_like(mean)
        draw = torch.randn(count, originals.shape[1], generator=generator)
        return Construction(mean + scale * std * draw)

    return Baseline(name or f"gaussian@{scale}", build)


def swag(scale: float) -> Baseline:
    """SWAG (Maddox et al. 2019, equation 1): half diagonal, half low-rank covariance.

    The low-rank half is spanned by the deviations of the last 20 originals from the running mean.
    ``scale`` multiplies standard deviations, as for ``gaussian``.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        originals = material.originals
        mean, std = originals.mean(0), originals.std(0, correction=0)
        numbers = torch.arange(1, len(originals) + 1)[:, None]
        running = originals.double().cumsum(0) / numbers
        deviations = (originals - running)[-SWAG_RANK:].float()
        diagonal = std * torch.randn(count, len(mean), generator=generator)
        weights = torch.randn(count, len(deviations), generator=generator)
        low_rank = weights @ deviations / (len(deviations) - 1) ** 0.5
        return Construction(mean + scale * (diagonal + low_rank) / 2**0.5)

    return Baseline(f"swag@{scale}", build, min_originals=2)


def kde() -> Baseline:
    """A kernel density in latent space, decoded (Schuerholt et al. 2022 sample networks so).

    Gaussian kernels around the originals' latents, whose width in each direction is Scott's (1992)
    factor ``N ** (-1 / (L + 4))`` times the latents' standard deviation.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        latents = material.latents
        num, size = latents.shape
        source = torch.randint(num, (count,), generator=generator)
        width = num ** (-1 / (size + 4)) * latents.std(0)
        draw = torch.randn(count, size, generator=generator)
        return Construction(material.decode(latents[source] + width * draw), source)

    return Baseline("kde", build, min_originals=2)
