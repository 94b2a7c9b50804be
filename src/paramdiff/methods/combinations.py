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
