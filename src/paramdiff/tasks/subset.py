"""A task with the first examples of its splits only, for machines that should not see all."""

from dataclasses import dataclass, replace

import torch

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs
from paramdiff.tasks.base import ClassificationTask, Split, Task, TaskDescription, TaskSpec
from paramdiff.tasks.task_settings import TaskSettings


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
        """Sizes and the untrained network; a ``UserError`` where a split has fewer examples."""
        whole = self.source.describe()
        if whole.num_classes is None:
            raise UserError(
                "task.num_train, num_validation, num_test: expected a classification task, found "
                "one with its own score"
            )
        return replace(
            whole,
            num_train=self._num("num_train", whole.num_train),
            num_validation=self._num("num_validation", whole.num_validation),
            num_test=self._num("num_test", whole.num_test),
        )

    def build(self) -> Task:
        """The task, with its data."""
        sizes = self.describe()
        whole = self.source.build()
        assert isinstance(whole, ClassificationTask)
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
                f"task.{field}: expected at most {available:,} examples, found {wanted:,}"
            )
        return wanted


def _first(split: Split, num: int) -> Split:
    if num == len(split):
        return split
    inputs = split.inputs
    kept = inputs[:num] if isinstance(inputs, torch.Tensor) else FirstInputs(inputs, num)
    return Split(kept, split.labels[:num])
