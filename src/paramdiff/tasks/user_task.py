"""A user's own task, or a function of a seed that returns it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from paramdiff.errors import UserError
from paramdiff.networks.logits import num_logits
from paramdiff.tasks.base import ClassificationTask, Task, TaskDescription
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.user_code import accepts, call, import_object, wrong_signature

SETTABLE = {"name", "seed"}
WANTED = "a paramdiff task (ClassificationTask, CustomTask), or a function (seed) or () of one"


@dataclass(frozen=True)
class UserTask:
    """A function of the user's as the source of a task.

    Attributes:
        settings: of the recipe; only the seed reaches the function.
        function: from the seed, or from nothing, to the task.
    """

    settings: TaskSettings
    function: Callable[..., Task]

    def __post_init__(self) -> None:
        if not accepts(self.function, 0) and not accepts(self.function):
            raise wrong_signature("task.name", self.settings.name, self.function, WANTED)
        for field in sorted(self.settings.model_fields_set - SETTABLE):
            if getattr(self.settings, field) != type(self.settings).model_fields[field].default:
                raise UserError(
                    f"task.{field}: {self.settings.name!r} decides this itself, found "
                    f"{getattr(self.settings, field)!r}"
                )

    def build(self) -> Task:
        """See ``TaskSpec``."""
        name, seed = self.settings.name, self.settings.seed
        given = (seed,) if accepts(self.function, seed) else ()
        hint = f"it was called with {f'the seed {seed}' if given else 'nothing'}"
        task = call("task.name", name, hint, self.function, *given)
        if not isinstance(task, Task):
            raise UserError(
                f"task.name: expected {name!r} to return a paramdiff ClassificationTask or "
                f"CustomTask, found {type(task).__name__}"
            )
        if isinstance(task, ClassificationTask):
            self._num_classes(task)
        return task

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``; the data are read."""
        task = self.build()
        return TaskDescription(
            task.name,
            tuple(task.test.inputs[:1].shape[1:])
            if isinstance(task, ClassificationTask)
            else None,
            self._num_classes(task) if isinstance(task, ClassificationTask) else None,
            task.num_train,
            task.num_validation,
            task.num_test,
            task.build_network,
        )

    def _num_classes(self, task: ClassificationTask) -> int:
        """The network's; a ``UserError`` where the data have more."""
        with torch.random.fork_rng(devices=[]):
            name = self.settings.name
            network = call("task.name", name, "its network was built", task.build_network)
        found = num_logits(f"task.name: {self.settings.name}", network, task.test.inputs[:2])
        most = max(int(split.labels.max()) for split in (task.train, task.validation, task.test))
        if most >= found:
            raise UserError(
                f"task.name: expected labels of {self.settings.name!r} below {found}, the number "
                f"of its network's classes, found {most}"
            )
        return found


def named_function(settings: TaskSettings) -> UserTask:
    """The task of a name ``module:function``.

    Args:
        settings: whose name it is.

    Returns:
        The source.

    Raises:
        UserError: it cannot be imported, or takes something else.
    """
    found = import_object(settings.name, "task.name")
    if isinstance(found, Task):
        return UserTask(settings, lambda: found)
    if not callable(found):
        kind = type(found).__name__
        raise UserError(f"task.name: expected {settings.name!r} to be {WANTED}, found {kind}")
    return UserTask(settings, found)
