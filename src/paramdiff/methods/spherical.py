"""Means on spheres, tensor by tensor, in raw values: SLERP of pairs, and the Karcher mean.

Both are combinations of the originals, whose weights follow from their inner products.
"""

import math

import torch
from torch import Tensor

from paramdiff.methods.averages import GREEN, of_raw
from paramdiff.methods.combinations import combined, products
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

PARALLEL = 1e-7
"""Sines below this are those of parallel or of opposite tensors, which no arc joins."""
MAX_ITERATIONS, TOLERANCE = 100, 1e-10


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


def slerp_weights(gram: Tensor, pairs: Tensor, share: float) -> Tensor:
    """Compute the weights of the two ends of spherical interpolations.

    Args:
        gram: ``[N, N]`` inner products.
        pairs: ``[M, 2]`` of rows.
        share: of the way from the first to the second.

    Returns:
        ``[M, 2]`` of float64: linear ones, if no single arc joins the two.
    """
    first, second = pairs.T
    norms = gram.diagonal().sqrt()
    cosine = (gram[first, second] / (norms[first] * norms[second])).nan_to_num(1.0).clamp(-1, 1)
    angle = cosine.arccos()
    sine = angle.sin()
    along_arc = torch.stack([((1 - share) * angle).sin(), (share * angle).sin()], 1)
    linear = torch.tensor([1 - share, share], dtype=torch.float64).expand(len(pairs), 2)
    return torch.where(sine[:, None] < PARALLEL, linear, along_arc / sine[:, None])


def karcher_weights(gram: Tensor) -> Tensor:
    """Compute the weights of a Karcher mean: of directions on the sphere, with the mean norm.

    Args:
        gram: ``[N, N]`` inner products.

    Returns:
        ``[N]`` of float64: equal ones, if a row is 0 or lies opposite to the mean.
    """
    num, norms = len(gram), gram.diagonal().sqrt()
    equal = torch.full((num,), 1 / num, dtype=torch.float64)
    if bool((norms == 0).any()):
        return equal
    cosines = gram / torch.outer(norms, norms)
    squared_length = float(equal @ cosines @ equal)
    if squared_length < PARALLEL:
        return equal
    mean = equal / squared_length**0.5  # as weights of the directions, here and below
    for _ in range(MAX_ITERATIONS):
        towards = (cosines @ mean).clamp(-1, 1)
        if float(towards.min()) < PARALLEL - 1:
            return equal
        angles = towards.arccos()
        factors = torch.where(angles.sin() < PARALLEL, 1.0, angles / angles.sin()) / num
        step = factors - (factors @ towards) * mean
        length = max(0.0, float(step @ cosines @ step)) ** 0.5
        if length < TOLERANCE:
            break
        mean = math.cos(length) * mean + math.sin(length) / length * step
        mean = mean / float(mean @ cosines @ mean) ** 0.5
    return mean / norms * norms.mean()


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
    strengths=Strengths((0.5,)),
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
