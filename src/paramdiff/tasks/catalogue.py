"""The tasks by name; a user's own is ``module:function`` or a key added to ``TASKS``."""

import difflib
from collections.abc import Callable
from importlib import import_module

from pydantic import Field

from paramdiff.errors import UserError
from paramdiff.settings import Settings
from paramdiff.tasks.digits import digits
from paramdiff.tasks.task import Task


class TaskSettings(Settings):
    """What the networks are for."""

    name: str = Field(description="a task's name, or 'module:function' that returns a Task")
    seed: int = Field(0, ge=0, description="of the split into training, validation and test data")


TASKS: dict[str, Callable[[int], Task]] = {"digits": digits}


def build_task(settings: TaskSettings) -> Task:
    """Build the task that the settings name.

    Args:
        settings: its name and the seed of its splits.

    Returns:
        The task.

    Raises:
        UserError: the name is unknown, or the user's function cannot be found or returns no Task.
    """
    if ":" not in settings.name:
        if settings.name in TASKS:
            return TASKS[settings.name](settings.seed)
        near = difflib.get_close_matches(settings.name, TASKS, n=1, cutoff=0.0)
        raise UserError(f"task.name: unknown task {settings.name!r}; the nearest is {near[0]!r}")
    module_name, _, function_name = settings.name.partition(":")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"task.name: {settings.name!r} cannot be imported: {error}") from None
    task = function(settings.seed)
    if not isinstance(task, Task):
        raise UserError(
            f"task.name: expected {settings.name!r} to return a paramdiff Task, "
            f"found {type(task).__name__}"
        )
    return task
