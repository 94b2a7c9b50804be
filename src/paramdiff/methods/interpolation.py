"""Interpolation: points on the lines between pairs of originals, in raw values."""

import torch

from paramdiff.methods.averages import GREEN, of_raw
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples
from paramdiff.methods.subspace import combined


def sample_interpolations(context: MethodContext, draws: Draws, share: float | None) -> Samples:
    """Draw pairs of different originals, and a point on each line.

    The point lies at ``share`` of the way from one original to the other (at 0.5 amid them);
    without a share it is drawn uniformly.
    """
    num = len(context.raw)
    pairs = draws.subsets(num, 2)
    shares = draws.uniform() if share is None else torch.full((len(draws),), share)
    shares = shares[:, None]
    weights = torch.zeros(len(draws), num)
    weights.scatter_(1, pairs, torch.cat([1 - shares, shares], dim=1))
    return of_raw(context, combined(context.raw, weights))


INTERPOLATION = Method(
    "interpolation",
    label="Interpolated originals",
    label_at="Interpolated originals, share {}",
    phrase="interpolations between pairs of checkpoints",
    phrase_at="points {} of the way from one checkpoint to another",
    short_phrase="interpolated checkpoints",
    reference="Linear interpolation of two trained networks, as by Frankle et al. 2020 "
    "(arXiv 1912.05671)",
    style=Style(GREEN, "<"),
    sample=sample_interpolations,
    strengths=Strengths((None, 0.25), (0.01, 0.5)),
    min_originals=2,
    finish="batchnorm",
)
