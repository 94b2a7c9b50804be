"""Training data in a codec: how a correction asks for them, and how many it saw."""

import torch
from torch import Tensor

from paramdiff.codec.correction import Examples
from paramdiff.evaluation.data_use import DataBudget
from paramdiff.parameters.space import ParameterSpace
from paramdiff.recipe import Recipe
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.tasks.task import AnyTask, Task


def training_examples(task: AnyTask, space: ParameterSpace, device: torch.device) -> Examples:
    """A task's training split, as normalised vectors see it.

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
    placed = space.to(device)

    def logits(normalised: Tensor, rows: Tensor) -> Tensor:
        return network.logits(placed.layout.unflatten(placed.denormalise(normalised)), rows)

    return Examples(logits, task.train.labels)


def data_budget(recipe: Recipe) -> DataBudget | None:
    """The training examples that each generator of a recipe sees; None where it sees none."""
    if recipe.codec.kind != "corrected":
        return None
    behaviour = recipe.codec.behaviour
    updates = behaviour.training.num_steps + behaviour.training.extra_updates
    seen = updates * behaviour.training.batch_size * behaviour.num_networks
    return DataBudget(seen, "labels" if behaviour.target == "labels" else "inputs")
