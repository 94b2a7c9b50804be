"""Training data in a codec: what a correction is trained on."""

from copy import deepcopy

import torch
from torch import Tensor

from paramdiff.codecs.behavioral import Examples
from paramdiff.parameters.space import ParameterSpace
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.tasks.base import AnyTask, Task


def training_examples(task: AnyTask, space: ParameterSpace, device: torch.device) -> Examples:
    """A task's training split, as normalized vectors see it.

    Inputs are not augmented: what lies before the generated tensors runs once per example.

    Args:
        task: a classification task.
        space: of the vectors.
        device: where to compute.

    Returns:
        The examples.

    Raises:
        UserError: the base checkpoint is not the network's.
    """
    assert isinstance(task, Task)  # build_parts refuses the others
    network = DifferentiableNetwork(
        task.build_network(), space.base, space.layout.names, task.train.inputs, device=device
    )
    placed = deepcopy(space).to(device)  # the caller's stays where it is

    def logits(normalized: Tensor, rows: Tensor) -> Tensor:
        return network.logits(placed.layout.unflatten(placed.denormalize(normalized)), rows)

    return Examples(logits, task.train.labels)
