"""A folder of images: ``train/CLASS/*``, ``test/CLASS/*`` and perhaps ``val/CLASS/*``.

ImageNet-1K is such a folder, too; there ``val/`` is the test split, as in the paper.
"""

from collections.abc import Sequence
from pathlib import Path

from paramdiff.errors import UserError, in_one_line
from paramdiff.networks.libraries import image_statistics, library
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.image_task import ImageSet, ImageSplits, ImageTask
from paramdiff.tasks.images import LabelledImages
from paramdiff.tasks.task_settings import TaskSettings

PUBLISHED = NetworkSettings(name="resnet18", pretrained=True)
NUM_IMAGENET_CLASSES = 1000


def image_folder(settings: TaskSettings) -> ImageTask:
    """Build the task of a user's folder.

    Args:
        settings: whose ``root`` is the folder.

    Returns:
        The source of the task.

    Raises:
        UserError: there is no such folder, or its splits have no images or other classes.
    """
    if settings.root is None or not settings.root.is_dir():
        raise UserError(f"task.root: there is no folder with train/ and test/ at {settings.root}")
    names = ["train", "test"]
    if (settings.root / "val").is_dir():
        names.append("val")
    found, classes = read_folders(settings.root, names)
    network = settings.network or PUBLISHED
    mean, std = image_statistics(network.name)
    facts = ImageSet(
        settings.root.resolve().name,
        len(classes),
        num_train=len(found[0].labels),
        num_test=len(found[1].labels),
        channels=3,
        size=224,
        mean=mean,
        std=std,
        network=PUBLISHED,
        num_validation=len(found[2].labels) if len(found) == 3 else None,
    )
    return ImageTask(facts, settings, lambda: ImageSplits(*found))


def imagenet1k(settings: TaskSettings) -> ImageTask:
    """ImageNet-1K in the user's folder; it cannot be downloaded without an account.

    Args:
        settings: whose ``root`` has ``train/`` and ``val/``.

    Returns:
        The source of the task; pixels are normalized as the network's published weights expect.
    """
    network = settings.network or PUBLISHED
    mean, std = image_statistics(network.name)
    facts = ImageSet(
        "ImageNet-1K", NUM_IMAGENET_CLASSES, 1_281_167, 50_000, 3, 224, mean, std, PUBLISHED
    )

    def read() -> ImageSplits:
        if settings.root is None or not settings.root.is_dir():
            raise UserError(
                "task.root: ImageNet-1K cannot be downloaded without an account; name a "
                "folder with train/ and val/, in each a sub-folder of images per class (n01440764 "
                f"...): there is none at {settings.root}"
            )
        (train, test), classes = read_folders(settings.root, ["train", "val"])
        if len(classes) != facts.num_classes:
            raise UserError(
                f"{settings.root / 'train'}: there are {len(classes)} classes, not "
                f"{facts.num_classes}"
            )
        return ImageSplits(train, test)

    return ImageTask(facts, settings, read)


def read_folders(root: Path, names: Sequence[str]) -> tuple[list[LabelledImages], list[str]]:
    """List the images of several splits that have the same classes.

    Args:
        root: the folder of the splits.
        names: theirs.

    Returns:
        The images of each split, and the classes in the order of their labels.

    Raises:
        UserError: a folder or class is missing, or a class has no images.
    """
    datasets = library("torchvision.datasets")
    found = []
    for name in names:
        try:
            found.append(datasets.ImageFolder(root / name))
        except FileNotFoundError as error:
            reason = in_one_line(error)
            raise UserError(
                f"{root / name}: there must be a sub-folder of images per class: {reason}"
            ) from None
    classes = found[0].classes
    for name, split in zip(names, found, strict=True):
        if odd := sorted(set(classes).symmetric_difference(split.classes)):
            raise UserError(
                f"{root}: {names[0]}/ and {name}/ must have the same classes, but only one of "
                f"them has {odd[0]!r}"
            )
    return [LabelledImages.of_files(split.samples) for split in found], classes
