"""Cross-entropy over shuffled passes: what training minimises where a task is classification.

Everything random is a function of the stream's name and the number of the update, so that a run
that was killed goes on exactly where it stood.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.scoring.inputs import batches
from paramdiff.tasks.task import Split, Task
from paramdiff.zoo.passes import ShuffledPasses


class ShuffledBatches(ShuffledPasses):
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
