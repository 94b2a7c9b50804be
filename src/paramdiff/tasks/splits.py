"""Splits of a task's data: training and validation apart, or the first examples alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs
from paramdiff.tasks.base import (
    Split,
    Task,
    TaskDescription,
    TaskSpec,
    require_classification,
)
from paramdiff.tasks.task_settings import TaskSettings

SHARE = 10  # one training example of so many selects
MOST = 5_000


def num_validation(num_train: int, num_classes: int) -> int:
    """Count the examples to set aside: a tenth, at least one per class, at most 5,000."""
    return min(MOST, max(num_classes, round(num_train / SHARE)))


def split_sizes(
    num_train: int, num_test: int, num_classes: int, protocol: str
) -> tuple[int, int, int]:
    """Compute the sizes of the three splits.

    Args:
        num_train: all examples that may be trained on.
        num_test: the test examples.
        num_classes: ``K``.
        protocol: ``validation`` or ``paper``, see ``TaskSettings``.

    Returns:
        Training, validation and test examples.
    """
    if protocol == "paper":
        return num_train, num_test, num_test
    aside = num_validation(num_train, num_classes)
    return num_train - aside, aside, num_test


def carve(labels: Tensor, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Choose rows for training and rows for validation.

    Args:
        labels: of all examples that may be trained on, ``[N]``.
        num_classes: ``K``.
        seed: of the choice.

    Returns:
        Two ascending sets of row numbers that are a partition of all.

    Raises:
        UserError: there are too few examples of a class.
    """
    from sklearn.model_selection import train_test_split

    aside = num_validation(len(labels), num_classes)
    try:
        train, validation = train_test_split(
            range(len(labels)), test_size=aside, stratify=labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise UserError(
            f"task.protocol: {len(labels)} training examples of {num_classes} classes are too few "
            f"to set {aside} of them aside for validation: {error}"
        ) from None
    return torch.tensor(sorted(train)), torch.tensor(sorted(validation))


@dataclass(frozen=True)
class FirstInputs:
    """The first of some examples that are decoded when they are asked for."""

    whole: Inputs
    num: int

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, rows: torch.Tensor | slice) -> torch.Tensor:
        return self.whole[torch.arange(self.num)[rows]]


@dataclass(frozen=True)
class SubsetTask:
    """A task that is cut to the sizes that the settings give.

    Attributes:
        source: the whole task.
        settings: how many examples of each split are kept; the first of those in the order of the
            split, which is the data set's.
    """

    source: TaskSpec
    settings: TaskSettings

    def describe(self) -> TaskDescription:
        """Describe the smaller task; a ``UserError`` if a split has fewer examples."""
        whole = self.source.describe()
        if not whole.is_classification:
            raise UserError(
                "task.num_train, num_validation, num_test: this needs a classification task, but "
                "this task has its own score"
            )
        return replace(
            whole,
            num_train=self._num("num_train", whole.num_train),
            num_validation=self._num("num_validation", whole.num_validation),
            num_test=self._num("num_test", whole.num_test),
        )

    def build(self) -> Task:
        """Build the task, with its data."""
        sizes = self.describe()
        whole = require_classification(self.source.build(), "task")
        test = _first(whole.test, sizes.num_test)
        return replace(
            whole,
            train=_first(whole.train, sizes.num_train),
            validation=test
            if whole.selects_on_test
            else _first(whole.validation, sizes.num_validation),
            test=test,
        )

    def _num(self, field: str, available: int) -> int:
        wanted = getattr(self.settings, field)
        if wanted is None:
            return available
        if wanted > available:
            raise UserError(
                f"task.{field}: {wanted:,} is more than the {available:,} examples of the split"
            )
        return wanted


def _first(split: Split, num: int) -> Split:
    if num == len(split):
        return split
    inputs = split.inputs
    kept = inputs[:num] if isinstance(inputs, torch.Tensor) else FirstInputs(inputs, num)
    return Split(kept, split.labels[:num])
