"""A task: a network, and data to train, select and test it on.

``ClassificationTask`` has labels; ``CustomTask`` brings its own loss and score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.registry import build_network
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
class OODInputs:
    """Inputs that belong to none of the task's classes.

    Attributes:
        description: display name.
        inputs: ``[O, ...]``, as the task's own.
    """

    description: str
    inputs: Inputs


@dataclass(frozen=True)
class ClassificationTask:
    """Data and the network whose parameters are generated.

    Attributes:
        name: display name.
        train: training split.
        validation: split for selection; never trained on.
        test: split that is scored once and selects nothing.
        build_network: function that builds an untrained network; it draws from torch's global
            generator, which the caller seeds.
        augmented: function from rows ``[B]`` of the training split and a generator to augmented
            inputs ``[B, ...]``; None without augmentation.
        build_pretrained: the same network with published weights, if training starts from them.
        out_of_distribution: inputs on which networks should be less confident, if there are any.
        network_name: display name; the class name by default.
        inputs_in_words: description of the preprocessing, if known.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    build_network: Callable[[], nn.Module]
    augmented: Augmented | None = None
    build_pretrained: Callable[[], nn.Module] | None = None
    out_of_distribution: OODInputs | None = None
    network_name: str | None = None
    inputs_in_words: str | None = None

    @property
    def selects_on_test(self) -> bool:
        """True if the test split also selects, as in the paper."""
        return self.validation is self.test

    @property
    def num_train(self) -> int:
        """Examples that networks are trained on."""
        return len(self.train)

    @property
    def num_validation(self) -> int:
        """Examples that select."""
        return len(self.validation)

    @property
    def num_test(self) -> int:
        """Examples that are scored once."""
        return len(self.test)


@dataclass(frozen=True)
class Scores:
    """A network's results on one split, by the task's own measure.

    Attributes:
        values: ``[E]`` float, one per example, or ``[1]`` where only the whole split has a score
            (average precision); higher is better, and the mean is the network's score.
        wrong: ``[W]`` bool, what it gets wrong of a fixed list (objects, pixels, examples); None
            where nothing is right or wrong.
    """

    values: Tensor
    wrong: Tensor | None = None


@dataclass(frozen=True)
class CustomTask:
    """Data and a network that is no classifier: the task brings its own loss and score.

    Its networks are scored one by one; frozen layers are not run ahead.

    Attributes:
        name: display name.
        score_name: display name: ``average precision``.
        is_fraction: whether scores lie between 0 and 1 and read best as percentages.
        num_train: examples that networks are trained on.
        num_validation: examples that select.
        num_test: examples that are scored once.
        build_network: as ``ClassificationTask``'s.
        loss: the mean loss of a network, in its own mode and on its own device, on these rows
            ``[B]`` of the training split; augmentation draws from the generator.
        score: of a network, which the call puts into evaluation mode; the same network has the
            same scores each time, so what the call draws it seeds itself.
        build_pretrained: as ``ClassificationTask``'s.
        network_name: as ``ClassificationTask``'s.
        selects_on_test: whether the test split also selects, as in the paper.
        data_in_words: description of the data, if counts of examples would mislead.
    """

    name: str
    score_name: str
    is_fraction: bool
    num_train: int
    num_validation: int
    num_test: int
    build_network: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor]
    score: Callable[[nn.Module, Literal["validation", "test"]], Scores]
    build_pretrained: Callable[[], nn.Module] | None = None
    network_name: str | None = None
    selects_on_test: bool = False
    data_in_words: str | None = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_validation, self.num_test)
        if min(sizes) < 1:
            raise UserError(
                f"task {self.name!r}: expected at least one training, validation and test example "
                f"each, found {sizes[0]}, {sizes[1]} and {sizes[2]}"
            )


Task = ClassificationTask | CustomTask
"""A classification task, whose networks are scored together, or one with a score of its own."""


def seeded_network(task: Task, seed: int) -> nn.Module:
    """The network that training starts from; the seed determines its random weights."""
    return _seeded(task.build_pretrained or task.build_network, seed)


def untrained_network(task: Task, seed: int) -> nn.Module:
    """The network with none but random weights, which the seed determines."""
    return _seeded(task.build_network, seed)


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


@dataclass(frozen=True)
class TaskDescription:
    """Sizes, and the untrained network.

    Attributes:
        title: display name.
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


class TaskSpec(Protocol):
    """A task before its data are read."""

    def describe(self) -> TaskDescription:
        """Sizes and the untrained network, without data where they can be told without."""

    def build(self) -> Task:
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
