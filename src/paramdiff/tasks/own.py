"""A user's own task: a function that takes a seed and returns a ``Task`` or ``ScoredTask``."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from paramdiff.errors import UserError
from paramdiff.networks.logits import num_logits
from paramdiff.tasks.description import TaskDescription
from paramdiff.tasks.settings import TaskSettings
from paramdiff.tasks.task import AnyTask, Task
from paramdiff.user_code import import_function

SETTABLE = {"name", "seed"}


@dataclass(frozen=True)
class OwnTask:
    """A function of the user's as the source of a task.

    Attributes:
        settings: of the recipe; only the seed reaches the function.
        function: from the seed to the task.
    """

    settings: TaskSettings
    function: Callable[[int], AnyTask]

    def __post_init__(self) -> None:
        for field in sorted(self.settings.model_fields_set - SETTABLE):
            if getattr(self.settings, field) != type(self.settings).model_fields[field].default:
                raise UserError(
                    f"task.{field}: {self.settings.name!r} decides this itself, found "
                    f"{getattr(self.settings, field)!r}"
                )

    def build(self) -> AnyTask:
        """See ``TaskSource``."""
        task = self.function(self.settings.seed)
        if not isinstance(task, AnyTask):
            raise UserError(
                f"task.name: expected {self.settings.name!r} to return a paramdiff Task or "
                f"ScoredTask, found {type(task).__name__}"
            )
        if isinstance(task, Task):
            self._num_classes(task)
        return task

    def describe(self) -> TaskDescription:
        """See ``TaskSource``; the data are read."""
        task = self.build()
        return TaskDescription(
            task.name,
            tuple(task.test.inputs[:1].shape[1:]) if isinstance(task, Task) else None,
            self._num_classes(task) if isinstance(task, Task) else None,
            task.num_train,
            task.num_validation,
            task.num_test,
            task.build_network,
        )

    def _num_classes(self, task: Task) -> int:
        """The network's; a ``UserError`` where the data have more."""
        with torch.random.fork_rng(devices=[]):
            network = task.build_network()
        found = num_logits(f"task.name: {self.settings.name}", network, task.test.inputs[:2])
        most = max(int(split.labels.max()) for split in (task.train, task.validation, task.test))
        if most >= found:
            raise UserError(
                f"task.name: expected labels of {self.settings.name!r} below {found}, the number "
                f"of its network's classes, found {most}"
            )
        return found


def named_function(settings: TaskSettings) -> OwnTask:
    """The task of a name ``module:function``.

    Args:
        settings: whose name it is.

    Returns:
        The source.

    Raises:
        UserError: it cannot be imported.
    """
    return OwnTask(settings, import_function(settings.name, "task.name"))
