"""A task: three data splits and a network to train on them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs

Augmented = Callable[[Tensor, torch.Generator], Tensor]
"""Rows ``[B]`` of the training split to their inputs ``[B, ...]``, freshly augmented."""


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    Attributes:
        inputs: ``[E, ...]`` float; a tensor, or anything that gives rows of one when asked.
        labels: ``[E]`` int64.
    """

    inputs: Inputs
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
    inputs: Inputs


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
        augmented: training inputs ``[B, ...]`` of these rows ``[B]`` of the training split, as the
            generator's draws change them; None where training sees the inputs as they are.
        build_pretrained: the same network with published weights, where training starts from them.
        out_of_distribution: what a network should be less sure about, where there is such a set.
        network_name: for people; the class's name where there is none.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    build_network: Callable[[], nn.Module]
    augmented: Augmented | None = None
    build_pretrained: Callable[[], nn.Module] | None = None
    out_of_distribution: ForeignInputs | None = None
    network_name: str | None = None

    @property
    def selects_on_test(self) -> bool:
        """Whether the test split also selects, as in the paper."""
        return self.validation is self.test


def seeded_network(task: Task, seed: int) -> nn.Module:
    """The network that training starts from; the seed determines its random weights."""
    build = task.build_pretrained or task.build_network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
