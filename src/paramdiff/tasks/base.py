"""Tasks: data to train, select and test a network on, with its loss and its score.

``ClassificationTask`` is in ``classification.py``; ``CustomTask``, in ``custom.py``, brings its
own loss and score. Anything else that implements ``Task`` works, too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.networks.registry import NetworkSettings, build_network
from paramdiff.scoring.inputs import Inputs

if TYPE_CHECKING:
    from paramdiff.tasks.classification import ClassificationTask


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
                f"task split: {len(self.labels)} labels for {len(self.inputs)} inputs; there must "
                "be one for each, and at least one"
            )

    def __len__(self) -> int:
        return len(self.labels)


SplitName = Literal["validation", "test"]
ParameterSets = Iterable[Mapping[str, Tensor]]
"""The chosen tensors by name, of many networks."""


@dataclass(frozen=True)
class OODInputs:
    """Inputs that belong to none of the task's classes.

    Attributes:
        description: what they are, for people.
        inputs: ``[O, ...]``, as the task's own.
    """

    description: str
    inputs: Inputs


@dataclass(frozen=True)
class Scores:
    """A network's results on one split, by the task's own measure.

    Attributes:
        values: ``[E]`` float, one per example, or ``[1]`` if only the whole split has a score
            (average precision); higher is better, and the mean is the network's score.
        wrong: ``[W]`` bool, what it gets wrong of a fixed list (objects, pixels, examples); None
            if nothing is right or wrong.
    """

    values: Tensor
    wrong: Tensor | None = None


@runtime_checkable
class Task(Protocol):
    """Data, the network whose parameters are generated, its loss and its score.

    Attributes:
        name: name for reports.
        num_train: number of examples that networks are trained on.
        num_validation: number of examples that select; never trained on.
        num_test: number of examples that are scored once.
        selects_on_test: whether the test split also selects, as in the paper.
        build_network: builds an untrained network from torch's global generator, which the caller
            seeds.
        build_pretrained: builds the same network with published weights; None unless training
            starts from them.
        network_name: name for reports; None shows the class's name.
        score_name: name of the score for reports: ``average precision``.
        is_fraction: whether scores lie between 0 and 1 and read best as percentages.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def num_train(self) -> int: ...  # noqa: D102
    @property
    def num_validation(self) -> int: ...  # noqa: D102
    @property
    def num_test(self) -> int: ...  # noqa: D102
    @property
    def selects_on_test(self) -> bool: ...  # noqa: D102
    @property
    def build_network(self) -> Callable[[], nn.Module]: ...  # noqa: D102
    @property
    def build_pretrained(self) -> Callable[[], nn.Module] | None: ...  # noqa: D102
    @property
    def network_name(self) -> str | None: ...  # noqa: D102
    @property
    def score_name(self) -> str: ...  # noqa: D102
    @property
    def is_fraction(self) -> bool: ...  # noqa: D102

    @property
    def as_classification(self) -> "ClassificationTask | None":
        """The task, if its networks map inputs to logits of labelled classes; None otherwise."""

    @property
    def score(self) -> Callable[[nn.Module, SplitName], Scores]:
        """Score one network, which the call puts into evaluation mode, on a split."""

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Compute the mean loss of a network, in its own mode and on its own device.

        Args:
            network: the network.
            rows: rows ``[B]`` of the training split.
            generator: source of augmentation and dropout.

        Returns:
            A scalar.
        """

    def validation_scorer(
        self, base: Mapping[str, Tensor], names: tuple[str, ...], device: torch.device
    ) -> Callable[[ParameterSets], list[float]]:
        """Prepare to score many networks on the validation split.

        Args:
            base: a complete state dict, the source of every tensor that a parameter set lacks.
            names: the tensors of a parameter set.
            device: device to compute on.

        Returns:
            A function from parameter sets to their mean scores.
        """

    def describe(self) -> "TaskDescription":
        """Return sizes and the untrained network."""

    def facts(self) -> dict[str, str]:
        """Describe data, score and inputs for the report, label to value."""

    def test_data(self) -> str:
        """Continue "The originals score 90 % ..." with the data: "on the test examples of ..."."""


def require_classification(task: Task | None, where: str) -> "ClassificationTask":
    """Return the classification task; a ``UserError`` that begins with ``where`` otherwise."""
    found = None if task is None else task.as_classification
    if found is None:
        kind = "there is none" if task is None else "this task has its own score"
        raise UserError(f"{where}: this needs a classification task, but {kind}")
    return found


def data_sizes(task: Task) -> str:
    """Count a task's examples in words."""
    selecting = f"{task.num_validation} validation"
    if task.selects_on_test:
        selecting = "no validation (the test examples select, as published: best values flatter)"
    return f"{task.num_train} training, {selecting}, {task.num_test} test examples"


def seeded_network(task: Task, seed: int) -> nn.Module:
    """Build the network that training starts from; the seed determines its random weights."""
    return _seeded(task.build_pretrained or task.build_network, seed)


def untrained_network(task: Task, seed: int) -> nn.Module:
    """Build the network with none but random weights, which the seed determines."""
    return _seeded(task.build_network, seed)


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


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
            ``UserError`` if the network does not suit the task.
    """

    title: str
    input_shape: tuple[int, ...] | None
    num_classes: int | None
    num_train: int
    num_validation: int
    num_test: int
    build_network: Callable[[], nn.Module]

    @property
    def is_classification(self) -> bool:
        """True if networks map inputs to logits of labeled classes."""
        return self.num_classes is not None


class TaskSpec(Protocol):
    """A task before its data are read."""

    def describe(self) -> TaskDescription:
        """Describe sizes and the untrained network, reading data only if necessary."""

    def build(self) -> Task:
        """Build the task, with its data."""


def network_builders(
    network: NetworkSettings, num_classes: int, input_shape: tuple[int, ...]
) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module] | None]:
    """Return the functions that build a task's network.

    Args:
        network: which, and whether training starts from published weights.
        num_classes: ``K``.
        input_shape: of one example.

    Returns:
        The untrained network's, and the one with published weights where training starts from it.
    """
    untrained = partial(build_network, network, num_classes, input_shape)
    return untrained, partial(untrained, pretrained=True) if network.pretrained else None
