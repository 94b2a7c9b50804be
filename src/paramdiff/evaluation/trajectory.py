"""Do the originals form one trajectory?

Along a training run each checkpoint is near the one before it. Then held-out checkpoints from its
tail are no independent draws: how they were held out would decide any test of novelty.
"""

import math

import torch
from torch import Tensor

from paramdiff.evaluation.distance import squared_distances
from paramdiff.evaluation.schema import Trajectory

NUM_ORDERS = 999


def trajectory_of(originals: Tensor, seed: int) -> Trajectory | None:
    """Test whether successive originals ``[N, P]`` are near each other (a permutation test).

    Args:
        originals: in the order in which they were saved.
        seed: of the random orders.

    Returns:
        The outcome; None for fewer than 8 originals, or where all are equal or one is not finite.
    """
    num = len(originals)
    if num < 8:
        return None
    distances = squared_distances(originals, originals).clamp(min=0).sqrt().fill_diagonal_(0)
    typical = float(distances.sum() / (num * (num - 1)))
    if typical == 0 or not math.isfinite(typical):
        return None
    generator = torch.Generator().manual_seed(seed)
    orders = torch.rand(NUM_ORDERS, num, generator=generator).argsort(1)
    steps = distances[orders[:, :-1], orders[:, 1:]].mean(1)
    found = float(distances.diagonal(1).mean())
    p_value = (1 + int((steps <= found).sum())) / (NUM_ORDERS + 1)
    return Trajectory(step_ratio=found / typical, p_value=p_value)
