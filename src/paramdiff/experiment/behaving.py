"""Training examples as a codec's correction asks for them: what a decoded network predicts."""

import torch
from torch import Tensor

from paramdiff.codec.correction import Examples
from paramdiff.errors import UserError
from paramdiff.parameters.space import ParameterSpace
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.tasks.task import AnyTask, Task


def training_examples(
    task: AnyTask | None, space: ParameterSpace, device: torch.device
) -> Examples:
    """A task's training split, as normalised vectors see it.

    Inputs are not augmented: what lies before the generated tensors runs once per example.

    Args:
        task: the recipe's, where it has one.
        space: of the vectors.
        device: where to compute.

    Returns:
        The examples.

    Raises:
        UserError: there is no classification task, or the base checkpoint is not its network's.
    """
    if not isinstance(task, Task):
        found = "none" if task is None else "one with its own loss"
        raise UserError(
            f"codec.behaviour: expected a classification task to train networks on, found {found}"
        )
    network = DifferentiableNetwork(
        task.build_network(), space.base, space.layout.names, task.train.inputs, device=device
    )
    placed = space.to(device)

    def logits(normalised: Tensor, rows: Tensor) -> Tensor:
        return network.logits(placed.layout.unflatten(placed.denormalise(normalised)), rows)

    return Examples(logits, task.train.labels)
