"""Cross-entropy over shuffled passes: what pre-training and fine-tuning minimise.

Everything random is a function of the stream's name and the number of the update, so that a run
that was killed goes on exactly where it stood.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.engine import seeded_generator
from paramdiff.scoring.inputs import batches
from paramdiff.tasks.task import Split, Task


class ShuffledBatches:
    """The training split in passes, each in an order of its own.

    Args:
        task: whose training split it is.
        batch_size: examples per update; the last update of a pass may have fewer.
        stream: the name that determines the orders.

    Attributes:
        steps_per_pass: updates in one pass.
        is_augmented: whether the same rows give other inputs each time.
        plain_inputs: all training inputs ``[E, ...]`` as they are, in order.
    """

    def __init__(self, task: Task, batch_size: int, stream: str) -> None:
        self._task, self._batch_size, self._stream = task, batch_size, stream
        self._pass, self._order = -1, torch.empty(0)
        self.steps_per_pass = -(-len(task.train) // batch_size)
        self.is_augmented = task.augmented is not None
        self.plain_inputs = task.train.inputs

    def rows(self, step: int) -> Tensor:
        """The rows ``[B]`` of the training split that an update sees."""
        number, position = divmod(step, self.steps_per_pass)
        if number != self._pass:
            generator = seeded_generator(self._stream, number)
            self._pass = number
            self._order = torch.randperm(len(self._task.train), generator=generator)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]

    def inputs(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The inputs ``[B, ...]`` of these rows, augmented where the task does so."""
        if self._task.augmented is not None:
            return self._task.augmented(rows, generator)
        return self._task.train.inputs[rows]

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The mean cross-entropy of logits ``[B, K]``."""
        return F.cross_entropy(logits, self._task.train.labels[rows].to(logits.device))


def training_logits(network: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Logits ``[B, K]`` in the network's own mode; dropout draws from the generator's stream."""
    device = next(network.parameters()).device
    with _drawing_from(generator, device):
        return network(inputs.to(device))


@contextmanager
def _drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
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
