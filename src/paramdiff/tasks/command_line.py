"""``--task``, or ``--data`` and ``--network``, as the settings of a task."""

from pathlib import Path

from paramdiff.errors import UserError
from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.tasks.settings import TaskSettings

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


def _network_name(network: str) -> str:
    library, _, name = network.partition(":")
    return {"timm": name, "torchvision": f"torchvision/{name}"}.get(library, network)
