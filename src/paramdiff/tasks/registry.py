"""The tasks by name; a user's own is ``module:function`` or a key added to ``TASKS``.

An entry builds a task from its settings. A string ``module:name`` is imported when it is used.
"""

from collections.abc import Callable
from pkgutil import resolve_name

from paramdiff.errors import UserError, suggestion
from paramdiff.tasks.arrays import npz
from paramdiff.tasks.base import Task, TaskDescription, TaskSpec
from paramdiff.tasks.digits import DigitsTask
from paramdiff.tasks.image_folder import image_folder, imagenet1k
from paramdiff.tasks.public import FACTS, cifar10_10k, public_task
from paramdiff.tasks.splits import SubsetTask
from paramdiff.tasks.tables import VectorTask, breast_cancer, wine
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.tasks.user_task import named_function
from paramdiff.user_code import FORMS, likely_own

__all__ = ["TASKS", "TaskDescription", "TaskSettings", "build_task", "describe_task"]

TASKS: dict[str, Callable[[TaskSettings], TaskSpec] | str] = {
    "digits": DigitsTask,
    "wine": wine,
    "breast_cancer": breast_cancer,
    **dict.fromkeys(FACTS, public_task),
    "cifar10_10k": cifar10_10k,
    "imagenet1k": imagenet1k,
    "image_folder": image_folder,
    "npz": npz,
    "coco_detection": "paramdiff.paper.detection:CocoDetection",
    "coco_segmentation": "paramdiff.paper.segmentation:CocoSegmentation",
    "cifar10_denoising": "paramdiff.paper.denoising:Denoising",
}


def describe_task(settings: TaskSettings) -> TaskDescription:
    """Tell a task's sizes and build its untrained network, without weights.

    Args:
        settings: which task.

    Returns:
        The description; for the bundled and public sets no data are looked for.

    Raises:
        UserError: the name is unknown, or something else about the settings is wrong.
    """
    return _source(settings).describe()


def build_task(settings: TaskSettings) -> Task:
    """Build the task that the settings name, with its data.

    Args:
        settings: which task.

    Returns:
        The task.

    Raises:
        UserError: the name is unknown, the user's function cannot be found or returns no task, or
            the data are missing or damaged.
    """
    return _source(settings).build()


def _source(settings: TaskSettings) -> TaskSpec:
    whole = _whole_source(settings)
    return SubsetTask(whole, settings) if settings.is_shortened else whole


def _whole_source(settings: TaskSettings) -> TaskSpec:
    if ":" in settings.name:
        return named_function(settings)
    if settings.name not in TASKS:
        raise UserError(
            f"task.name: unknown task {settings.name!r}; {suggestion(settings.name, TASKS)}, and "
            f"one of your own is {FORMS}{likely_own(settings.name)}"
        )
    entry = TASKS[settings.name]
    source = (resolve_name(entry) if isinstance(entry, str) else entry)(settings)
    if settings.standardize and not isinstance(source, VectorTask):
        raise UserError(f"task.standardize: {settings.name!r} has no vectors to standardize")
    return source
