"""Added noise: every network is an original, disturbed.

Originals are used in a shuffled order, each equally often. Relative noise is that of the authors'
``workspace/evaluate.py``.
"""

import torch
from torch import Tensor

from paramdiff.methods.method import Baseline, Construction, Material


def noise(level: float) -> Baseline:
    """Gaussian noise of ``level`` times each tensor's spread over its elements."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        source = _sources(len(material.originals), count, generator)
        vectors = material.originals[source].clone()
        for slot in material.layout.slots:
            part = vectors[:, slot.start : slot.stop]
            draw = torch.randn(part.shape, generator=generator)
            # one element has no spread; it is normalized by its size
            spread = part.std(1, keepdim=True) if part.shape[1] > 1 else 1.0
            part += level * spread * draw
        return Construction(vectors, source)

    return Baseline(f"noise@{level}", build, finishes=True)


def noise_absolute(level: float) -> Baseline:
    """Gaussian noise of standard deviation ``level`` on every raw value (Zeng et al. 2025)."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        source = _sources(len(material.originals), count, generator)
        raw = material.normalization.invert(material.originals[source])
        draw = torch.randn(raw.shape, generator=generator)
        return Construction(material.normalization.apply(raw + level * draw), source)

    return Baseline(f"noise_absolute@{level}", build, finishes=True)


def _sources(num_originals: int, count: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(num_originals, generator=generator)
    return order.repeat(-(-count // num_originals))[:count]
