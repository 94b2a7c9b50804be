"""Batches, losses and validation scores of a task while its networks are trained.

The order of every epoch depends only on the name of the stream and the number of the epoch, so an
interrupted run continues exactly where it stopped.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.random import seeded_generator
from paramdiff.scoring.inputs import batches
from paramdiff.tasks.base import ClassificationTask, CustomTask, Split, Task
from paramdiff.tasks.sequential_scorer import score_network


class EpochSampler:
    """Shuffled epochs over the rows of the training split.

    Args:
        num_train: number of rows.
        batch_size: rows per update; the last update of an epoch may have fewer.
        stream: name that determines the orders.

    Attributes:
        steps_per_epoch: updates per epoch.
    """

    def __init__(self, num_train: int, batch_size: int, stream: str) -> None:
        self._num_train, self._batch_size, self._stream = num_train, batch_size, stream
        self._pass, self._order = -1, torch.empty(0)
        self.steps_per_epoch = -(-num_train // batch_size)

    def rows(self, step: int) -> Tensor:
        """Return the rows ``[B]`` of the training split for an update."""
        number, position = divmod(step, self.steps_per_epoch)
        if number != self._pass:
            generator = seeded_generator(self._stream, number)
            self._pass = number
            self._order = torch.randperm(self._num_train, generator=generator)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]


class ClassificationBatches(EpochSampler):
    """Batches of a classification task in shuffled epochs.

    Args:
        task: task with the training split.
        batch_size: examples per update; the last update of an epoch may have fewer.
        stream: name that determines the orders.

    Attributes:
        is_augmented: True if the same rows give other inputs each time.
        plain_inputs: all training inputs ``[E, ...]`` without augmentation, in order.
    """

    def __init__(self, task: ClassificationTask, batch_size: int, stream: str) -> None:
        super().__init__(task.num_train, batch_size, stream)
        self._task = task
        self.is_augmented = task.augmented is not None
        self.plain_inputs = task.train.inputs

    def inputs(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the inputs ``[B, ...]`` of these rows, augmented if the task does so."""
        if self._task.augmented is not None:
            return self._task.augmented(rows, generator)
        return self._task.train.inputs[rows]

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Compute the mean cross-entropy of logits ``[B, K]``."""
        return F.cross_entropy(logits, self._task.train.labels[rows].to(logits.device))

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Compute the mean loss of a whole network, in its current mode, on these rows."""
        return self.loss(training_logits(network, self.inputs(rows, generator), generator), rows)


def training_logits(network: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Compute logits ``[B, K]`` in the network's mode; dropout draws from the generator."""
    device = next(network.parameters()).device
    with drawing_from(generator, device):
        return network(inputs.to(device))


@contextmanager
def drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators within the context, since modules draw from them only."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach all GPUs'
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


@torch.no_grad()
def evaluate_accuracy(network: nn.Module, split: Split, device: torch.device) -> float:
    """Compute a network's accuracy on a split in evaluation mode; its mode is restored."""
    was_training = network.training
    network.eval()
    correct = 0
    pairs = zip(batches(split.inputs, 500), split.labels.split(500), strict=True)
    for inputs, labels in pairs:
        correct += int((network(inputs.to(device)).argmax(1).cpu() == labels).sum())
    network.train(was_training)
    return correct / len(split)


class CustomBatches(EpochSampler):
    """Batches of a custom task, with its own loss, in shuffled epochs.

    Args:
        task: task with the training split.
        batch_size: examples per update; the last update of an epoch may have fewer.
        stream: name that determines the orders.
    """

    def __init__(self, task: CustomTask, batch_size: int, stream: str) -> None:
        super().__init__(task.num_train, batch_size, stream)
        self._task = task

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Compute the mean loss of a network, in its current mode, on these rows."""
        with drawing_from(generator, next(network.parameters()).device):
            return self._task.loss(network, rows, generator)


def batches_of(task: Task, batch_size: int, stream: str) -> ClassificationBatches | CustomBatches:
    """Make the batches of either kind of task; the arguments are those of the two classes."""
    if isinstance(task, ClassificationTask):
        return ClassificationBatches(task, batch_size, stream)
    return CustomBatches(task, batch_size, stream)


def validation_score(task: Task, network: nn.Module, device: torch.device, when: str) -> float:
    """Compute a network's mean validation score in evaluation mode; its mode is restored.

    Args:
        task: task with the validation split.
        network: network on the device.
        device: device of the network.
        when: moment to name in the error about a non-finite score.

    Returns:
        The score; higher is better.

    Raises:
        UserError: a custom score is malformed or not finite.
    """
    if isinstance(task, ClassificationTask):
        return evaluate_accuracy(network, task.validation, device)
    return float(score_network(task, network, "validation", when).values.double().mean())
