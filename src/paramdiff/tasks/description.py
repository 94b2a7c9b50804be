"""What a task is, as far as can be told without its data and without weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import nn

from paramdiff.networks.catalogue import NetworkSettings, build_network
from paramdiff.tasks.task import AnyTask


@dataclass(frozen=True)
class TaskDescription:
    """Sizes, and the untrained network.

    Attributes:
        title: for people.
        input_shape: of one example: ``(C, H, W)`` or ``(F,)``; None for a task with its own score.
        num_classes: ``K``; None for a task with its own score.
        num_train: training examples.
        num_validation: validation examples; under the paper's protocol, the test examples.
        num_test: test examples.
        build_network: the untrained network; reads no data and fetches no weights. It raises a
            ``UserError`` where the network does not suit the task.
    """

    title: str
    input_shape: tuple[int, ...] | None
    num_classes: int | None
    num_train: int
    num_validation: int
    num_test: int
    build_network: Callable[[], nn.Module]


class TaskSource(Protocol):
    """A task before its data are read."""

    def describe(self) -> TaskDescription:
        """Sizes and the untrained network, without data where they can be told without."""

    def build(self) -> AnyTask:
        """The task, with its data."""


def network_builders(
    network: NetworkSettings, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module] | None]:
    """The functions that build a task's network.

    Args:
        network: which, and whether training starts from published weights.
        num_classes: ``K``.
        input_shape: of one example.

    Returns:
        The untrained network's, and the one with published weights where training starts from it.
    """
    untrained = partial(build_network, network, num_classes, input_shape)
    return untrained, partial(untrained, pretrained=True) if network.pretrained else None
