"""Interpolation: points on the lines between originals, in raw values."""

import torch

from paramdiff.methods.averages import GREEN, of_raw
from paramdiff.methods.combinations import combined
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples


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


def sample_between_neighbors(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Draw a point on the line from each original in turn to its nearest neighbor."""
    points = context.embedding.points
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    first = draws.in_turn(len(points))
    shares = draws.uniform()[:, None]
    weights = torch.zeros(len(draws), len(points))
    pairs = torch.stack([first, distances.argmin(1)[first]], dim=1)
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
    strengths=Strengths((None, 0.25), (0.01, 0.5), bounds=(0.0, 1.0)),
    min_originals=2,
    finish="batchnorm",
)
NEIGHBOR_INTERPOLATION = Method(
    "neighbor_interpolation",
    label="Interpolated neighbors",
    phrase="interpolations between neighboring checkpoints",
    reference="As SMOTE: Chawla et al. 2002 (arXiv 1106.1813), of the nearest neighbor",
    style=Style(GREEN, "X"),
    sample=sample_between_neighbors,
    min_originals=2,
    finish="batchnorm",
)
