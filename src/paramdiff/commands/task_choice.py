"""``--task``, or ``--data`` with ``--network``, or ``--score-fn``, as a task."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.base import AnyTask
from paramdiff.tasks.registry import build_task
from paramdiff.tasks.scoring_function import ScoringFunctions, import_scoring
from paramdiff.tasks.task_settings import TaskSettings

ALIASES = {"imagefolder": "image_folder", "images": "image_folder"}


def task_settings(
    task: str | None,
    data: str | None,
    network: str | None,
    image_size: int | None = None,
    *,
    standardize: bool = False,
) -> TaskSettings:
    """Put a task together.

    Args:
        task: a task's name, or ``module:function``.
        data: a set's name, or ``KIND:PATH`` (``imagefolder:PATH``, ``npz:PATH``, ``mnist:PATH``).
        network: ``timm:NAME``, ``torchvision:NAME``, one of ours, or ``module:function``.
        image_size: pixels per side of the network's input.
        standardize: see ``TaskSettings``.

    Returns:
        The settings.

    Raises:
        UserError: neither or both of task and data are given, or a network without data.
    """
    if (task is None) == (data is None):
        raise UserError("expected one of --task, --data and --score-fn")
    if task is not None and network is not None:
        raise UserError("--network: a task brings its own network; name --data with it instead")
    if data is None:
        assert task is not None
        return TaskSettings(name=task, image_size=image_size, standardize=standardize)
    kind, _, root = data.partition(":")
    return TaskSettings(
        name=ALIASES.get(kind, kind),
        root=Path(root) if root else None,
        network=None if network is None else NetworkSettings(name=_network_name(network)),
        image_size=image_size,
        standardize=standardize,
    )


def asked_task(
    score: str | None,
    task: str | None,
    data: str | None,
    network: str | None,
    image_size: int | None = None,
    *,
    score_validation: str | None = None,
    standardize: bool = False,
) -> TaskSettings | ScoringFunctions:
    """What is asked for: scoring functions, as they were named, or the settings of a task.

    Args:
        score: ``module:function``, instead of all others.
        task: see ``task_settings``.
        data: see ``task_settings``.
        network: see ``task_settings``.
        image_size: see ``task_settings``.
        score_validation: ``module:function`` beside ``score``, whose scores select.
        standardize: see ``task_settings``.

    Returns:
        What ``open_task`` takes.

    Raises:
        UserError: see ``task_settings``.
    """
    if score is None:
        if score_validation is not None:
            raise UserError("--score-validation: expected --score-fn beside it, found none")
        return task_settings(task, data, network, image_size, standardize=standardize)
    if not task == data == network is None:
        raise UserError("expected one of --task, --data and --score-fn")
    if standardize:
        raise UserError("--standardize: a scoring function prepares its own data; leave it out")
    return ScoringFunctions(score, score_validation)


def open_task(
    asked: TaskSettings | ScoringFunctions,
) -> Callable[[Mapping[str, Tensor]], AnyTask]:
    """Read what is asked for; checkpoints may come later.

    Args:
        asked: the settings of a task, or the names of scoring functions.

    Returns:
        A complete state dict to the task; only a scoring function looks at it.

    Raises:
        UserError: there is no such task, data or function.
    """
    if isinstance(asked, ScoringFunctions):
        return import_scoring(asked)
    built = build_task(asked)
    return lambda example: built


def _network_name(network: str) -> str:
    library, _, name = network.partition(":")
    return {"timm": name, "torchvision": f"torchvision/{name}"}.get(library, network)
