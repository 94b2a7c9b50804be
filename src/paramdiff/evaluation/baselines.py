"""What a user gets for free: constructions from originals to new parameter vectors.

Each is a function from the originals' vectors ``[N, P]``, normalised per tensor, to a
``Construction``; the originals are never written to (the published critique's code overwrote the
checkpoints it averaged). To add one, append it to ``BASELINES``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.parameters.layout import ParameterLayout

SWAG_RANK = 20


@dataclass(frozen=True)
class Construction:
    """New vectors.

    Attributes:
        vectors: ``[M, P]``, normalised per tensor.
        source: ``[M]`` index of the original that each was made from, where there is one.
    """

    vectors: Tensor
    source: Tensor | None = None


@dataclass(frozen=True)
class Baseline:
    """A named construction.

    Attributes:
        name: as in ``evaluation.json``.
        build: originals, layout, number of vectors and generator to a construction.
        min_originals: with fewer the construction is left out.
    """

    name: str
    build: Callable[[Tensor, ParameterLayout, int, torch.Generator], Construction]
    min_originals: int = 1


def noise(level: float) -> Baseline:
    """Each original plus Gaussian noise of ``level`` times its own spread over each tensor.

    The published noise baseline (method.md 4): originals are used in a shuffled order, each
    equally often; every tensor's standard deviation over its elements is the unit.
    """

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        order = torch.randperm(len(originals), generator=generator)
        source = order.repeat(-(-count // len(order)))[:count]
        vectors = originals[source].clone()
        for slot in layout.slots:
            part = vectors[:, slot.start : slot.stop]
            draw = torch.randn(part.shape, generator=generator)
            part += level * part.std(1, keepdim=True) * draw
        return Construction(vectors, source)

    return Baseline(f"noise@{level}", build)


def gaussian(scale: float, name: str | None = None) -> Baseline:
    """Independent normal draws per coordinate: the originals' mean, ``scale`` times their std.

    The control of Zeng et al. (arXiv 2506.07998), there at scale 1.
    """

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        mean = originals.mean(0)
        if scale == 0:
            return Construction(mean[None].clone())
        std = originals.std(0) if len(originals) > 1 else torch.zeros_like(mean)
        draw = torch.randn(count, originals.shape[1], generator=generator)
        return Construction(mean + scale * std * draw)

    return Baseline(name or f"gaussian@{scale}", build)


def average_all() -> Baseline:
    """The mean of all originals (the paper's "ensemble"; a uniform soup, Wortsman et al. 2022)."""

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        return Construction(originals.mean(0, keepdim=True))

    return Baseline("average@all", build)


def average(members: int) -> Baseline:
    """Means of ``members`` different originals, drawn anew for each (Zeng et al. use 16)."""

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        draws = [torch.randperm(len(originals), generator=generator) for _ in range(count)]
        chosen = torch.stack(draws)[:, :members]
        return Construction(torch.stack([originals[rows].mean(0) for rows in chosen]))

    return Baseline(f"average@{members}", build, min_originals=members)


def interpolation() -> Baseline:
    """Points drawn uniformly on the lines between pairs of different originals."""

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        draws = [torch.randperm(len(originals), generator=generator)[:2] for _ in range(count)]
        one, other = torch.stack(draws).T
        share = torch.rand(count, 1, generator=generator)
        return Construction(originals[one] + share * (originals[other] - originals[one]))

    return Baseline("interpolation", build, min_originals=2)


def swag(scale: float) -> Baseline:
    """SWAG (Maddox et al. 2019, equation 1): half diagonal, half low-rank covariance.

    The low-rank half is spanned by the deviations of the last 20 originals from the running mean.
    ``scale`` multiplies standard deviations, as for ``gaussian``.
    """

    def build(
        originals: Tensor, layout: ParameterLayout, count: int, generator: torch.Generator
    ) -> Construction:
        mean, std = originals.mean(0), originals.std(0, correction=0)
        numbers = torch.arange(1, len(originals) + 1)[:, None]
        running = originals.double().cumsum(0) / numbers
        deviations = (originals - running)[-SWAG_RANK:].float()
        diagonal = std * torch.randn(count, len(mean), generator=generator)
        weights = torch.randn(count, len(deviations), generator=generator)
        low_rank = weights @ deviations / (len(deviations) - 1) ** 0.5
        return Construction(mean + scale * (diagonal + low_rank) / 2**0.5)

    return Baseline(f"swag@{scale}", build, min_originals=2)


BASELINES: Sequence[Baseline] = [
    noise(0.001),
    noise(0.05),
    noise(0.15),
    average(2),
    average(4),
    average(8),
    average(16),
    average(64),
    average_all(),
    interpolation(),
    gaussian(0.25),
    gaussian(0.5),
    gaussian(0.75),
    gaussian(1.0),
    gaussian(1.25),
    gaussian(1.5),
    swag(0.5),
    swag(1.0),
]
