"""Epochs over a training split, and the validation score of a network in training.

Every order is a function of the stream's name and the number of the epoch, so that a run that was
killed resumes exactly.
"""

import torch
from torch import Tensor, nn

from paramdiff.random import seeded_generator
from paramdiff.scoring.inputs import Inputs
from paramdiff.tasks.base import Task
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.custom import score_network


class EpochBatches:
    """Rows of the training split in epochs, each in an order of its own, and their loss.

    Args:
        task: the task.
        batch_size: rows per update; the last update of an epoch may have fewer.
        stream: the name that determines the orders.

    Attributes:
        steps_per_epoch: updates in one epoch.
    """

    def __init__(self, task: Task, batch_size: int, stream: str) -> None:
        self._batch_size, self._stream = batch_size, stream
        self._num_train, self.training_loss = task.num_train, task.training_loss
        self._epoch, self._order = -1, torch.empty(0)
        self.steps_per_epoch = -(-task.num_train // batch_size)

    def rows(self, step: int) -> Tensor:
        """Return the rows ``[B]`` of the training split that an update sees."""
        number, position = divmod(step, self.steps_per_epoch)
        if number != self._epoch:
            generator = seeded_generator(self._stream, number)
            self._epoch = number
            self._order = torch.randperm(self._num_train, generator=generator)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]


class ClassificationBatches(EpochBatches):
    """Batches of a classification task, whose inputs and loss can be had apart.

    Args:
        task: the task.
        batch_size: rows per update; the last update of an epoch may have fewer.
        stream: the name that determines the orders.

    Attributes:
        is_augmented: whether the same rows give other inputs each time.
        plain_inputs: all training inputs ``[E, ...]`` as they are, in order.
    """

    def __init__(self, task: ClassificationTask, batch_size: int, stream: str) -> None:
        super().__init__(task, batch_size, stream)
        self.is_augmented = task.augmented is not None
        self.plain_inputs: Inputs = task.train.inputs
        self.inputs, self.loss = task.training_inputs, task.loss


def validation_score(task: Task, network: nn.Module, when: str) -> float:
    """Compute the mean validation score of a network in evaluation mode; its mode is kept.

    Args:
        task: the task.
        network: the network, on any device.
        when: the point in training, for the message if a score is not finite.

    Returns:
        The score; higher is better.

    Raises:
        UserError: the task's own score is malformed or not finite.
    """
    return float(score_network(task, network, "validation", when).values.double().mean())
