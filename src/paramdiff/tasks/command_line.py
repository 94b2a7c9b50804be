"""``--task``, ``--data`` and ``--network``, or ``--score``, as a task."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.tasks.catalogue import build_task
from paramdiff.tasks.scoring_function import task_of_function
from paramdiff.tasks.settings import TaskSettings
from paramdiff.tasks.task import AnyTask
from paramdiff.user_code import import_function

ALIASES = {"imagefolder": "image_folder", "images": "image_folder"}


def task_settings(
    task: str | None, data: str | None, network: str | None, image_size: int | None = None
) -> TaskSettings:
    """Put a task together.

    Args:
        task: a task's name, or ``module:function``.
        data: a set's name, or ``KIND:PATH`` (``imagefolder:PATH``, ``npz:PATH``, ``mnist:PATH``).
        network: ``timm:NAME``, ``torchvision:NAME``, one of ours, or ``module:function``.
        image_size: pixels per side of the network's input.

    Returns:
        The settings.

    Raises:
        UserError: neither or both of task and data are given, or a network without data.
    """
    if (task is None) == (data is None):
        raise UserError("expected one of --task, --data and --score")
    if task is not None and network is not None:
        raise UserError("--network: a task brings its own network; name --data with it instead")
    if data is None:
        assert task is not None
        return TaskSettings(name=task, image_size=image_size)
    kind, _, root = data.partition(":")
    return TaskSettings(
        name=ALIASES.get(kind, kind),
        root=Path(root) if root else None,
        network=None if network is None else NetworkSettings(name=_network_name(network)),
        image_size=image_size,
    )


def asked_task(
    score: str | None,
    task: str | None,
    data: str | None,
    network: str | None,
    image_size: int | None = None,
) -> TaskSettings | str:
    """What is asked for: a scoring function, as it was named, or the settings of a task.

    Args:
        score: ``module:function``, instead of all others.
        task: see ``task_settings``.
        data: see ``task_settings``.
        network: see ``task_settings``.
        image_size: see ``task_settings``.

    Returns:
        What ``open_task`` takes.

    Raises:
        UserError: see ``task_settings``.
    """
    if score is None:
        return task_settings(task, data, network, image_size)
    if not task == data == network is None:
        raise UserError("expected one of --task, --data and --score")
    return score


def open_task(asked: TaskSettings | str) -> Callable[[Mapping[str, Tensor]], AnyTask]:
    """Read what is asked for; checkpoints may come later.

    Args:
        asked: the settings of a task, or a scoring function's ``module:function``.

    Returns:
        A complete state dict to the task; only a scoring function looks at it.

    Raises:
        UserError: there is no such task, data or function.
    """
    if isinstance(asked, str):
        function = import_function(asked, "--score")
        return lambda example: task_of_function(asked, function, example)
    built = build_task(asked)
    return lambda example: built


def _network_name(network: str) -> str:
    library, _, name = network.partition(":")
    return {"timm": name, "torchvision": f"torchvision/{name}"}.get(library, network)
