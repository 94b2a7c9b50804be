"""Arrays in an ``.npz`` file: ``x_train, y_train, x_test, y_test``.

Images are uint8 or float, ``[N, C, H, W]``, ``[N, H, W, C]`` or ``[N, H, W]`` with one or three
channels; anything else of two dimensions is a table, one row an example.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.image_task import ImageSet, ImageSplits, ImageTask
from paramdiff.tasks.images import LabelledImages, Pixels
from paramdiff.tasks.tables import Table, VectorTask
from paramdiff.tasks.task_settings import TaskSettings

NAMES = ("x_train", "y_train", "x_test", "y_test")
CHANNELS = (1, 3)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Arrays:
    """The content of a file.

    Attributes:
        x_train: images ``[N, C, H, W]``, uint8 or float32, or rows ``[N, F]``, float32.
        y_train: int64 ``[N]``.
        x_test: as ``x_train``, ``E`` of them.
        y_test: int64 ``[E]``.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def num_classes(self) -> int:
        """One more than the highest training label."""
        return int(self.y_train.max()) + 1


def npz(settings: TaskSettings) -> ImageTask | VectorTask:
    """Build the task of a user's arrays.

    Args:
        settings: whose ``root`` is the file.

    Returns:
        The source of a task on images or on vectors.

    Raises:
        UserError: there is no such file, or something is wrong with its arrays.
    """
    if settings.root is None:
        raise UserError("task.root: the task 'npz' needs its .npz file")
    arrays = read_arrays(settings.root)
    title = settings.root.name
    if arrays.x_train.dim() == 2:
        return VectorTask(Table(title, arrays.num_classes, **vars(arrays)), settings)
    _, channels, height, width = arrays.x_train.shape
    if height != width and settings.image_size is None:
        raise UserError(
            f"task.image_size: the images of {settings.root} are {height}x{width} pixels; "
            "say to which size they are cropped"
        )
    facts = ImageSet(
        title,
        arrays.num_classes,
        num_train=len(arrays.y_train),
        num_test=len(arrays.y_test),
        channels=channels,
        size=width,
        mean=HALF[:channels],
        std=HALF[:channels],
        network=NetworkSettings(name="resnet20"),
    )
    return ImageTask(facts, settings, lambda: image_splits(arrays))


def image_splits(arrays: Arrays) -> ImageSplits:
    """Return the images of a file's arrays."""
    return ImageSplits(
        LabelledImages(Pixels(arrays.x_train), arrays.y_train),
        LabelledImages(Pixels(arrays.x_test), arrays.y_test),
    )


def read_arrays(path: Path) -> Arrays:
    """Read and check a file.

    Args:
        path: of an ``.npz`` file.

    Returns:
        Its arrays, images with channels first.

    Raises:
        UserError: the file is missing, damaged or holds objects; an array is missing, or has a
            type, shape or value that it should not have.
    """
    if not path.is_file():
        raise UserError(f"task.root: there is no .npz file at {path}")
    try:
        found = _load(path)
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: this is no .npz file of plain arrays: {error}") from None
    tensors = {
        name: _labels(path, name, array) if name[0] == "y" else _examples(path, name, array)
        for name, array in found.items()
    }
    arrays = Arrays(**tensors)
    _check(path, arrays)
    return arrays


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:  # numpy would leave it open where the file is damaged
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        for name in NAMES:
            if name not in file.files:
                held = ", ".join(file.files) or "nothing"
                raise UserError(f"{path}: there is no array {name!r}; the file holds {held}")
        return {name: file[name] for name in NAMES}


def _examples(path: Path, name: str, array: Any) -> Tensor:
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise UserError(f"{path}: {name!r} must be uint8 or float, but is {array.dtype}")
    found = array.shape
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in CHANNELS and array.shape[3] in CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    if array.ndim not in (2, 4) or (array.ndim == 4 and array.shape[1] not in CHANNELS):
        raise UserError(
            f"{path}: {name!r} must be images [N, C, H, W] or [N, H, W, C] with 1 or 3 channels, "
            f"or rows [N, F], but has shape {found}"
        )
    if array.dtype == np.uint8 and array.ndim == 4:
        return torch.from_numpy(np.ascontiguousarray(array))
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if not values.isfinite().all():
        raise UserError(f"{path}: {name!r} holds NaN or infinity")
    return values


def _labels(path: Path, name: str, array: Any) -> Tensor:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {name!r} must be whole numbers [N], but is {array.dtype} of shape "
            f"{array.shape}"
        )
    return torch.from_numpy(array.astype(np.int64))


def _check(path: Path, arrays: Arrays) -> None:
    for split in ("train", "test"):
        inputs, labels = getattr(arrays, f"x_{split}"), getattr(arrays, f"y_{split}")
        if len(inputs) != len(labels) or not len(labels):
            raise UserError(
                f"{path}: there must be one label for each example, and at least one, but there "
                f"are {len(inputs)} in 'x_{split}' and {len(labels)} in 'y_{split}'"
            )
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= arrays.num_classes:
            raise UserError(
                f"{path}: labels must lie from 0 to {arrays.num_classes - 1}, the highest of "
                f"'y_train', but 'y_{split}' holds {lowest} to {highest}"
            )
    if arrays.x_train.shape[1:] != arrays.x_test.shape[1:]:
        raise UserError(
            f"{path}: examples must have one shape, but are {tuple(arrays.x_train.shape[1:])} in "
            f"'x_train' and {tuple(arrays.x_test.shape[1:])} in 'x_test'"
        )
    if arrays.x_train.dtype != arrays.x_test.dtype:
        raise UserError(
            f"{path}: examples must have one type, but are {arrays.x_train.dtype} in 'x_train' "
            f"and {arrays.x_test.dtype} in 'x_test'"
        )
