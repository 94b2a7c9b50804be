"""Shuffled passes over a training split.

Every order is a function of the stream's name and the number of the pass, so that a run that was
killed goes on exactly where it stood.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.random import seeded_generator
from paramdiff.scoring.inputs import batches
from paramdiff.tasks.base import AnyTask, ScoredTask, Split, Task
from paramdiff.tasks.sequential_scorer import score_network


class EpochSampler:
    """The rows of the training split in passes, each in an order of its own.

    Args:
        num_train: how many rows there are.
        batch_size: rows per update; the last update of a pass may have fewer.
        stream: the name that determines the orders.

    Attributes:
        steps_per_epoch: updates in one pass.
    """

    def __init__(self, num_train: int, batch_size: int, stream: str) -> None:
        self._num_train, self._batch_size, self._stream = num_train, batch_size, stream
        self._pass, self._order = -1, torch.empty(0)
        self.steps_per_epoch = -(-num_train // batch_size)

    def rows(self, step: int) -> Tensor:
        """The rows ``[B]`` of the training split that an update sees."""
        number, position = divmod(step, self.steps_per_epoch)
        if number != self._pass:
            generator = seeded_generator(self._stream, number)
            self._pass = number
            self._order = torch.randperm(self._num_train, generator=generator)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]


class ClassificationBatches(EpochSampler):
    """The training split of a classification task in shuffled passes.

    Args:
        task: whose training split it is.
        batch_size: examples per update; the last update of a pass may have fewer.
        stream: the name that determines the orders.

    Attributes:
        is_augmented: whether the same rows give other inputs each time.
        plain_inputs: all training inputs ``[E, ...]`` as they are, in order.
    """

    def __init__(self, task: Task, batch_size: int, stream: str) -> None:
        super().__init__(task.num_train, batch_size, stream)
        self._task = task
        self.is_augmented = task.augmented is not None
        self.plain_inputs = task.train.inputs

    def inputs(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The inputs ``[B, ...]`` of these rows, augmented where the task does so."""
        if self._task.augmented is not None:
            return self._task.augmented(rows, generator)
        return self._task.train.inputs[rows]

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The mean cross-entropy of logits ``[B, K]``."""
        return F.cross_entropy(logits, self._task.train.labels[rows].to(logits.device))

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The mean loss of a whole network, in its own mode, on these rows."""
        return self.loss(training_logits(network, self.inputs(rows, generator), generator), rows)


def training_logits(network: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Logits ``[B, K]`` in the network's own mode; dropout draws from the generator's stream."""
    device = next(network.parameters()).device
    with drawing_from(generator, device):
        return network(inputs.to(device))


@contextmanager
def drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for a while: modules can draw from nothing else."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach all GPUs'
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


@torch.no_grad()
def evaluate_accuracy(network: nn.Module, split: Split, device: torch.device) -> float:
    """Accuracy of a network on a split, in evaluation mode; the network's mode is kept."""
    was_training = network.training
    network.eval()
    correct = 0
    pairs = zip(batches(split.inputs, 500), split.labels.split(500), strict=True)
    for inputs, labels in pairs:
        correct += int((network(inputs.to(device)).argmax(1).cpu() == labels).sum())
    network.train(was_training)
    return correct / len(split)


class CustomBatches(EpochSampler):
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


def batches_of(
    task: AnyTask, batch_size: int, stream: str
) -> ClassificationBatches | CustomBatches:
    """The training split of either kind of task; arguments as those of the two."""
    if isinstance(task, Task):
        return ClassificationBatches(task, batch_size, stream)
    return CustomBatches(task, batch_size, stream)


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
