"""The task of a command: by its name, by data and a network, or by scoring functions."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.base import Task
from paramdiff.tasks.registry import build_task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.tasks.user_task import ScoringFunctions, import_scoring

ALIASES = {"imagefolder": "image_folder", "images": "image_folder"}
ONE_OF = "expected one of --task, --data and --score-fn"

TaskOfCheckpoints = Callable[[Mapping[str, Tensor]], Task]
"""A complete state dict to the task; only a scoring function reads it."""


def choose_task(
    *,
    task: str | TaskSettings | None = None,
    data: str | None = None,
    network: str | None = None,
    image_size: int | None = None,
    score_fn: str | None = None,
    score_validation: str | None = None,
    standardize: bool = False,
) -> TaskSettings | ScoringFunctions | None:
    """Put a task together.

    Args:
        task: a task's name, ``module:function``, or complete settings.
        data: a data set's name, or ``KIND:PATH`` (``imagefolder:PATH``, ``npz:PATH``,
            ``mnist:PATH``).
        network: ``timm:NAME``, ``torchvision:NAME``, one of ours, or ``module:function``.
        image_size: pixels per side of the network's input.
        score_fn: ``module:function`` that scores a complete state dict, instead of all others.
        score_validation: ``module:function`` beside ``score_fn``, whose scores select.
        standardize: see ``TaskSettings``.

    Returns:
        What ``open_task`` takes; None if nothing was given.

    Raises:
        UserError: what is given does not go together.
    """
    if score_validation is not None and score_fn is None:
        raise UserError("--score-validation: expected --score-fn beside it, found none")
    if score_fn is not None:
        if any(one is not None for one in (task, data, network)):
            raise UserError(ONE_OF)
        if standardize:
            raise UserError(
                "--standardize: a scoring function prepares its own data; leave it out"
            )
        return ScoringFunctions(score_fn, score_validation)
    given = (task, data, network, image_size)
    if not standardize and all(one is None for one in given):
        return None
    if (task is None) == (data is None):
        raise UserError(ONE_OF)
    if task is not None:
        if network is not None:
            raise UserError(
                "--network: a task brings its own network; name --data with it instead"
            )
        if isinstance(task, TaskSettings):
            return task
        return TaskSettings(name=task, image_size=image_size, standardize=standardize)
    assert data is not None
    return _of_data(data, network, image_size, standardize=standardize)


def _of_data(
    data: str, network: str | None, image_size: int | None, *, standardize: bool
) -> TaskSettings:
    kind, _, root = data.partition(":")
    return TaskSettings(
        name=ALIASES.get(kind, kind),
        root=Path(root) if root else None,
        network=None if network is None else NetworkSettings(name=_network_name(network)),
        image_size=image_size,
        standardize=standardize,
    )


def _network_name(network: str) -> str:
    library, _, name = network.partition(":")
    return {"timm": name, "torchvision": f"torchvision/{name}"}.get(library, network)


def open_task(chosen: TaskSettings | ScoringFunctions) -> TaskOfCheckpoints:
    """Build a task's data, or import scoring functions, before any checkpoint is read.

    Args:
        chosen: the settings of a task, or the names of scoring functions.

    Returns:
        A complete state dict to the task.

    Raises:
        UserError: there is no such task, data or function.
    """
    if isinstance(chosen, ScoringFunctions):
        return import_scoring(chosen)
    built = build_task(chosen)
    return lambda example: built
