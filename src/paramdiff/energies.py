"""Energies: differentiable scores of networks, which generation can be pulled towards.

An energy takes raw parameter vectors ``[M, P]`` and gives scores ``[M]``, each of its own row,
with a gradient. Higher is better, as of a log density: networks follow what was learned times
``exp(scale * score)``. Any function that does so will serve; these two are at hand.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.parameters.space import ParameterSpace
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.scoring.inputs import Inputs

Energy = Callable[[Tensor], Tensor]
"""Raw parameter vectors ``[M, P]`` to scores ``[M]``."""


def lower_loss(
    network: nn.Module,
    space: ParameterSpace,
    inputs: Inputs,
    labels: Tensor,
    *,
    device: str | torch.device = "cpu",
) -> Energy:
    """Minus the mean cross-entropy on given examples, in nats.

    Args:
        network: the architecture.
        space: of the vectors; its base completes them.
        inputs: the examples ``[E, ...]``, all of which every network sees at every step.
        labels: ``[E]``.
        device: where to compute.

    Returns:
        The energy; networks are asked one after the other, so that memory holds one of them.
    """
    parts = DifferentiableNetwork(network, space.base, space.layout.names, inputs, device=device)
    rows, truth = torch.arange(len(parts)), labels.to(device)

    def score(vector: Tensor) -> Tensor:
        logits = parts.logits(space.layout.unflatten(vector), rows)
        return -F.cross_entropy(logits.float(), truth)

    return lambda vectors: _one_by_one(score, vectors)


def larger_distance(networks: Tensor, space: ParameterSpace) -> Energy:
    """Build the distance from the nearest of given networks, as the space normalizes parameters.

    Args:
        networks: raw vectors ``[G, P]``.
        space: of the vectors.

    Returns:
        The energy.
    """
    given = space.normalize(networks)
    exact = "donot_use_mm_for_euclid_dist"  # the other way has no gradient to rely on when near
    return lambda vectors: torch.cdist(space.normalize(vectors), given, compute_mode=exact).amin(1)


def _one_by_one(score: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
    """Scores ``[M]`` whose graphs are gone but for their values and gradients."""
    scores, slopes = [], []
    with torch.enable_grad():
        for vector in vectors.detach().clone().requires_grad_():
            found = score(vector)
            slopes.append(torch.autograd.grad(found, vector)[0])
            scores.append(found.detach())
    moved = (vectors - vectors.detach()) * torch.stack(slopes)  # zero, with the right gradient
    return torch.stack(scores) + moved.sum(1)
