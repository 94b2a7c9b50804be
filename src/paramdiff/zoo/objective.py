"""What training minimises and what selects: the one place that asks which kind a task is."""

import torch
from torch import Tensor, nn

from paramdiff.tasks.one_by_one import score_network
from paramdiff.tasks.task import AnyTask, ScoredTask, Task
from paramdiff.zoo.classification import ShuffledBatches, drawing_from, evaluate_accuracy
from paramdiff.zoo.passes import ShuffledPasses


class OwnBatches(ShuffledPasses):
    """The training split of a task with its own loss, in shuffled passes.

    Args:
        task: whose training split it is.
        batch_size: examples per update; the last update of a pass may have fewer.
        stream: the name that determines the orders.
    """

    def __init__(self, task: ScoredTask, batch_size: int, stream: str) -> None:
        super().__init__(task.num_train, batch_size, stream)
        self._task = task

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The mean loss of a network, in its own mode, on these rows."""
        with drawing_from(generator, next(network.parameters()).device):
            return self._task.loss(network, rows, generator)


def batches_of(task: AnyTask, batch_size: int, stream: str) -> ShuffledBatches | OwnBatches:
    """The training split of either kind of task; arguments as those of the two."""
    if isinstance(task, Task):
        return ShuffledBatches(task, batch_size, stream)
    return OwnBatches(task, batch_size, stream)


def validation_score(task: AnyTask, network: nn.Module, device: torch.device, when: str) -> float:
    """The mean validation score of a network, in evaluation mode; the network's mode is kept.

    Args:
        task: whose validation split it is.
        network: on the device.
        device: where the network lies.
        when: for the message where a score is not finite.

    Returns:
        The score; higher is better.

    Raises:
        UserError: the task's own score is malformed or not finite.
    """
    if isinstance(task, Task):
        return evaluate_accuracy(network, task.validation, device)
    return float(score_network(task, network, "validation", when).values.double().mean())
