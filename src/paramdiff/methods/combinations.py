"""Combinations of originals, in blocks of columns, and the weights of standard averages."""

import math

import torch
from torch import Tensor

from paramdiff.memmap import column_blocks

DECAYS = {
    "linear": lambda passed: 1 - passed,
    "cosine": lambda passed: (1 + math.cos(math.pi * passed)) / 2,
    "1-sqrt": lambda passed: 1 - math.sqrt(passed),
}
"""Shapes of a learning rate's decay from 1 to 0, as functions of the share that has passed."""

PARALLEL = 1e-7
"""Sines below this are those of parallel or of opposite tensors, which no arc joins."""
MAX_ITERATIONS, TOLERANCE = 100, 1e-10


def combined(originals: Tensor, weights: Tensor) -> Tensor:
    """Combine originals linearly.

    Args:
        originals: ``[N, P]``, possibly mapped.
        weights: ``[M, N]``; each row sums to 1 for an affine combination.

    Returns:
        ``[M, P]`` of float32.
    """
    vectors, exact = torch.empty(len(weights), originals.shape[1]), weights.double()
    for columns in column_blocks(originals):
        vectors[:, columns] = (exact @ originals[:, columns].double()).float()
    return vectors


def deviations(draws: Tensor) -> Tensor:
    """Turn normal numbers ``[M, N]`` into weights of originals: draws with their covariance."""
    centered = draws - draws.mean(1, keepdim=True)
    return centered / (draws.shape[1] - 1) ** 0.5


def products(originals: Tensor, origin: Tensor | None = None) -> Tensor:
    """Compute inner products of all rows.

    Args:
        originals: ``[N, P]``, possibly mapped.
        origin: ``[P]``, subtracted from every row; 0 by default.

    Returns:
        ``[N, N]`` of float64.
    """
    found = torch.zeros(len(originals), len(originals), dtype=torch.float64)
    for columns in column_blocks(originals):
        values = originals[:, columns].double()
        if origin is not None:
            values = values - origin[columns].double()
        found += values @ values.T
    return found


def ema_weights(num: int, decay: float) -> Tensor:
    """Compute the weights ``[num]`` of an exponential moving average that starts at the first."""
    weights = (1 - decay) * decay ** torch.arange(num - 1, -1, -1, dtype=torch.float64)
    weights[0] = decay ** (num - 1)
    return weights


def power_weights(steps: Tensor, relative_width: float) -> Tensor:
    """Compute the weights of a power-function window over a trajectory.

    The window at time ``t`` is proportional to ``t ** gamma`` up to the last step; each checkpoint
    stands for the time since the one before, and the first one for as long as the second.

    Args:
        steps: ``[n]``, increasing and not negative.
        relative_width: standard deviation of the window relative to the last step, below 0.28;
            ``sigma_rel`` of Karras et al. 2024 (arXiv 2312.02696), equation 4.

    Returns:
        ``[n]`` of float64, whose sum is 1.
    """
    inverse = relative_width**-2
    # (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) = relative_width^2, as a cubic equation
    companion = torch.zeros(3, 3, dtype=torch.float64)
    companion[0] = -torch.tensor([7.0, 16 - inverse, 12 - inverse], dtype=torch.float64)
    companion[1, 0] = companion[2, 1] = 1.0
    gamma = float(torch.linalg.eigvals(companion).real.max())
    times = steps.double()
    start = (2 * times[:1] - times[1:2]).clamp(min=0)
    reached = (torch.cat([start, times]) / times[-1]) ** (gamma + 1)
    weights = reached.diff()
    return weights / weights.sum()


def decay_weights(num: int, shape: str) -> Tensor:
    """Compute the weights of an average that equals a decay of the learning rate.

    The average weighs the update before checkpoint ``i`` by the weights of all checkpoints from
    ``i`` on, which is the learning rate's share that is left.

    Args:
        num: checkpoints, of which the first one precedes the decay.
        shape: one of ``DECAYS``.

    Returns:
        ``[num]`` of float64, whose sum is 1.
    """
    left = [DECAYS[shape](passed / num) for passed in range(num + 1)]
    return -torch.tensor(left, dtype=torch.float64).diff()


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


def stock_ratio(gram: Tensor) -> float:
    """Compute the share of the average in a model stock, between 0 and 1.

    Args:
        gram: ``[N, N]`` inner products of differences from the base.

    Returns:
        ``N cos / (1 + (N - 1) cos)``, for the mean cosine of pairs; 1 if nothing differs.
    """
    num, norms = len(gram), gram.diagonal().sqrt()
    pairs = torch.outer(norms, norms)
    known = pairs > 0
    known.fill_diagonal_(False)
    if not known.any():
        return 1.0
    cosine = float((gram[known] / pairs[known]).mean().clamp(0, 1))
    return num * cosine / (1 + (num - 1) * cosine)
