"""Means on spheres, tensor by tensor, in raw values: SLERP of pairs, and the Karcher mean.

Both are combinations of the originals, whose weights follow from their inner products.
"""

import torch

from paramdiff.methods.averages import GREEN, of_raw
from paramdiff.methods.combinations import combined, karcher_weights, products, slerp_weights
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples


def sample_slerp(context: MethodContext, draws: Draws, share: float) -> Samples:
    """Draw pairs of different originals, and the point at ``share`` of the arc of each tensor."""
    pairs = draws.subsets(len(context.raw), 2)
    raw = torch.empty(len(draws), context.raw.shape[1])
    for slot in context.layout.slots:
        values = context.raw[:, slot.start : slot.stop]
        weights = torch.zeros(len(draws), len(values), dtype=torch.float64)
        weights.scatter_(1, pairs, slerp_weights(products(values), pairs, share))
        raw[:, slot.start : slot.stop] = combined(values, weights)
    return of_raw(context, raw)


def sample_karcher_mean(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Take the Karcher mean of each tensor's directions, with the mean of its norms."""
    raw = torch.empty(1, context.raw.shape[1])
    for slot in context.layout.slots:
        values = context.raw[:, slot.start : slot.stop]
        raw[:, slot.start : slot.stop] = combined(values, karcher_weights(products(values))[None])
    return of_raw(context, raw)


SLERP = Method(
    "slerp",
    label="SLERP of originals",
    label_at="SLERP of originals, share {}",
    phrase="spherical interpolations of pairs of checkpoints",
    phrase_at="points {} of the arc from one checkpoint to another",
    short_phrase="spherical interpolations",
    reference="Shoemake 1985, of each tensor",
    style=Style(GREEN, "h"),
    sample=sample_slerp,
    strengths=Strengths((0.5,), bounds=(0.0, 1.0)),
    min_originals=2,
    finish="batchnorm",
)
KARCHER_MEAN = Method(
    "karcher_mean",
    label="Karcher mean",
    phrase="the Karcher mean of the checkpoints",
    reference="Karcher 1977, of each tensor's direction",
    style=Style(GREEN, "o"),
    sample=sample_karcher_mean,
    finish="batchnorm",
)
