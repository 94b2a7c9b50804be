"""A task: three data splits and a network to train on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    Attributes:
        inputs: ``[E, ...]`` float.
        labels: ``[E]`` int64.
    """

    inputs: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels) or len(self.labels) == 0:
            raise UserError(
                f"task split: expected as many labels as inputs and at least one, found "
                f"{len(self.labels)} labels and {len(self.inputs)} inputs"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ForeignInputs:
    """Inputs that belong to none of the task's classes.

    Attributes:
        description: what they are, for people.
        inputs: ``[O, ...]``, as the task's own.
    """

    description: str
    inputs: Tensor


@dataclass(frozen=True)
class Task:
    """Data and the network whose parameters are generated.

    Attributes:
        name: for people.
        train: what networks are trained on.
        validation: what selects; never trained on.
        test: scored once; selects nothing.
        build_network: an untrained network; draws from torch's global generator, which the caller
            seeds.
        augment: inputs ``[B, ...]`` and a generator to inputs; applied while training only.
        out_of_distribution: what a network should be less sure about, where there is such a set.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    build_network: Callable[[], nn.Module]
    augment: Augment | None = None
    out_of_distribution: ForeignInputs | None = None


def seeded_network(task: Task, seed: int) -> nn.Module:
    """The task's untrained network with initial weights that the seed determines."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task.build_network()
