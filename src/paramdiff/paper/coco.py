"""Images with objects, in COCO's own layout.

``annotations/instances_train2017.json`` lists the objects on the images of ``train2017/``.
``val2017`` is the test split, as in published results (the annotations of COCO's own test images
are not public), and the validation split is set aside from ``train2017``. Nothing is downloaded:
the images have 19 GB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.settings import load
from paramdiff.tasks.images import decode
from paramdiff.tasks.splits import carve, split_sizes
from paramdiff.tasks.task_settings import TaskSettings

TRAIN, TEST = "train2017", "val2017"
NUM_TRAIN, NUM_TEST = 118_287, 5_000


class _Read(BaseModel):
    """Part of an annotation file; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Image(_Read):
    id: int
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Category(_Read):
    id: int
    name: str


class CocoObject(_Read):
    """An object: its category's number, and its box as left, top, width and height in pixels."""

    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: bool = False


Polygon = Annotated[list[FiniteFloat], Field(min_length=6)]


class RunLengths(_Read):
    """A run-length encoded mask, column by column; ``size`` is height and width."""

    counts: list[int] | str
    size: tuple[int, int]


class OutlinedObject(CocoObject):
    """An object and its outline."""

    segmentation: Annotated[list[Polygon], Field(min_length=1)] | RunLengths


class _File(_Read):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[CocoObject]


class _OutlinedFile(_Read):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[OutlinedObject]


@dataclass(frozen=True)
class CocoImage:
    """One image and its objects.

    Attributes:
        path: its file.
        height: in pixels.
        width: in pixels.
        objects: in the order of the annotation file.
    """

    path: Path
    height: int
    width: int
    objects: tuple[Any, ...]

    def read(self) -> Tensor:
        """Decode the image, uint8 ``[3, H, W]``; a ``UserError`` if it is damaged or another."""
        found = decode(self.path)
        if found.shape[1:] != (self.height, self.width):
            raise UserError(
                f"{self.path}: its annotations say {self.width}x{self.height} pixels, but it has "
                f"{found.shape[2]}x{found.shape[1]}"
            )
        return found


@dataclass(frozen=True)
class CocoSplits:
    """The images of the three splits.

    Attributes:
        train: images for training.
        validation: images for selection; the same object as ``test`` under the paper's protocol.
        test: images for the final scores.
        categories: number to name, from both annotation files.
    """

    train: tuple[CocoImage, ...]
    validation: tuple[CocoImage, ...]
    test: tuple[CocoImage, ...]
    categories: dict[int, str]


def coco_sizes(settings: TaskSettings) -> tuple[int, int, int]:
    """Return the numbers of training, validation and test images of COCO itself."""
    return split_sizes(NUM_TRAIN, NUM_TEST, 1, settings.protocol)


def read_coco(settings: TaskSettings, *, outlines: bool) -> CocoSplits:
    """Read the annotations of both splits; images are decoded when they are needed.

    Args:
        settings: of the task; ``root`` is the folder.
        outlines: if objects must have outlines.

    Returns:
        The three splits.

    Raises:
        UserError: a file is missing or malformed, or refers to an image or category that does not
            exist.
    """
    root = settings.root
    if root is None or not root.is_dir():
        raise UserError(
            f"task.root: COCO is not downloaded; name a folder with {TRAIN}/, {TEST}/ and "
            f"annotations/instances_{TRAIN}.json and instances_{TEST}.json: none is at {root}"
        )
    images, categories = _read_split(root, TRAIN, outlines)
    test, others = _read_split(root, TEST, outlines)
    if settings.protocol == "paper":
        return CocoSplits(images, test, test, categories | others)
    train, aside = (
        tuple(images[row] for row in rows.tolist())
        for rows in carve(torch.zeros(len(images)), 1, settings.seed)
    )
    return CocoSplits(train, aside, test, categories | others)


def _read_split(
    root: Path, name: str, outlines: bool
) -> tuple[tuple[CocoImage, ...], dict[int, str]]:
    path = root / "annotations" / f"instances_{name}.json"
    if not path.is_file():
        raise UserError(f"{path}: these annotations of COCO's {name} are missing")
    form: type[_OutlinedFile] | type[_File] = _OutlinedFile if outlines else _File
    content = load(form, path.read_bytes(), path)
    categories = {category.id: category.name for category in content.categories}
    objects: dict[int, list[Any]] = {image.id: [] for image in content.images}
    for number, found in enumerate(content.annotations):
        if found.image_id not in objects:
            raise UserError(
                f"{path}: annotations.{number}.image_id: no image has the id {found.image_id}"
            )
        if found.category_id not in categories:
            raise UserError(
                f"{path}: annotations.{number}.category_id: no category has the id "
                f"{found.category_id}"
            )
        objects[found.image_id].append(found)
    images = tuple(
        CocoImage(root / name / i.file_name, i.height, i.width, tuple(objects[i.id]))
        for i in content.images
    )
    if not images:
        raise UserError(f"{path}: images: there is none")
    for image in images:
        if not image.path.is_file():
            raise UserError(f"{image.path}: this image of {path.name} is missing")
    return images, categories
