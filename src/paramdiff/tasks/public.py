"""The paper's image sets: facts, files and how torchvision reads them.

Statistics, sizes and splits are those of the authors' ``dataset/full``; both CIFAR sets share one
pair.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.arrays import image_splits, read_arrays
from paramdiff.tasks.download import File, PublicSet, read_public
from paramdiff.tasks.image_folder import PUBLISHED
from paramdiff.tasks.image_task import ImageSet, ImageSplits, ImageTask
from paramdiff.tasks.images import LabelledImages, Pixels
from paramdiff.tasks.task_settings import TaskSettings

CIFAR_MEAN, CIFAR_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
FLOWERS_MD5 = {
    "102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
    "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
    "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
}
SMALL = NetworkSettings(name="resnet20")


def in_memory(images: Any, labels: Any) -> LabelledImages:
    """Arrays of torchvision's, uint8 ``[N, C, H, W]`` and ``[N]``."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    return LabelledImages(Pixels(pixels), torch.as_tensor(np.asarray(labels), dtype=torch.int64))


def labelled_files(samples: Sequence[tuple[Path, int]]) -> LabelledImages:
    """Load the images of a list; a ``UserError`` if one of them is missing."""
    for path, _ in samples:
        if not path.is_file():
            raise UserError(f"{path}: this image is missing")
    return LabelledImages.of_files(samples)


def unread(dataset: Any) -> list[tuple[Path, int]]:
    """Paths and labels of a set whose loader was told to leave the path as it is."""
    return [dataset[row] for row in range(len(dataset))]


def unopened(path: str | Path) -> Path:
    """Return the loader that opens nothing."""
    return Path(path)


def read_cifar(kind: Any, root: Path, download: bool) -> ImageSplits:
    """CIFAR-10, CIFAR-100 or a part of one."""
    splits = [kind(root, train=is_train, download=download) for is_train in (True, False)]
    return ImageSplits(*[in_memory(s.data.transpose(0, 3, 1, 2), s.targets) for s in splits])


def files_of_cifar(kind: Any) -> list[File]:
    """List the batches that torchvision reads."""
    names = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    return [File(f"{kind.base_folder}/{name}", md5) for name, md5 in names]


def first_batch(datasets: Any) -> Any:
    """CIFAR-10 with the first of its five training batches alone."""
    parts = {"train_list": datasets.CIFAR10.train_list[:1]}
    return type("FirstBatch", (datasets.CIFAR10,), parts)


def labelled_stl10(datasets: Any) -> Any:
    """STL-10 without its 2.8 GB of unlabeled images."""
    parts = {"train_list": datasets.STL10.train_list[:2]}
    return type("LabelledSTL10", (datasets.STL10,), parts)


def read_stl10(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """Read the 5,000 labeled training images and the test images."""
    kind = labelled_stl10(datasets)
    splits = [kind(root, split=name, download=download) for name in ("train", "test")]
    return ImageSplits(*[in_memory(split.data, split.labels) for split in splits])


def files_of_stl10(datasets: Any) -> list[File]:
    """List the binary files."""
    kind = labelled_stl10(datasets)
    names = [*kind.train_list, *kind.test_list]
    return [File(f"{kind.base_folder}/{name}", md5) for name, md5 in names]


def read_mnist(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """Grey images, one channel."""
    splits = [
        datasets.MNIST(root, train=is_train, download=download) for is_train in (True, False)
    ]
    return ImageSplits(*[in_memory(split.data[:, None], split.targets) for split in splits])


def read_svhn(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """Cropped house numbers."""
    splits = [datasets.SVHN(root, split=name, download=download) for name in ("train", "test")]
    return ImageSplits(*[in_memory(split.data, split.labels) for split in splits])


def files_of_svhn(datasets: Any) -> list[File]:
    """List the two files that are read; torchvision knows a third."""
    return [File(*datasets.SVHN.split_list[name][1:]) for name in ("train", "test")]


def read_flowers(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """Read the official training split of 1,020 images, and the test split."""
    splits = [
        datasets.Flowers102(root, split=name, download=download, loader=unopened)
        for name in ("train", "test")
    ]
    return ImageSplits(*[labelled_files(unread(split)) for split in splits])


def files_of_flowers(*archives: str) -> list[File]:
    """List the labels and splits, and perhaps the images' archive."""
    names = [*archives, "imagelabels.mat", "setid.mat"]
    return [File(f"flowers-102/{name}", FLOWERS_MD5[name]) for name in names]


def read_pets(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """``trainval`` and ``test``; torchvision has no loader to tell here."""
    splits = [
        datasets.OxfordIIITPet(root, split=name, download=download)
        for name in ("trainval", "test")
    ]
    pairs = [list(zip(split._images, split._labels, strict=True)) for split in splits]
    return ImageSplits(*map(labelled_files, pairs))


def read_food101(datasets: Any, root: Path, download: bool) -> ImageSplits:
    """75,750 and 25,250 images."""
    splits = [
        datasets.Food101(root, split=name, download=download, loader=unopened)
        for name in ("train", "test")
    ]
    return ImageSplits(*[labelled_files(unread(split)) for split in splits])


MNIST_FILES = [
    f"{split}-{kind}-ubyte"
    for split in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
]

FACTS: dict[str, ImageSet] = {
    "cifar10": ImageSet("CIFAR-10", 10, 50_000, 10_000, 3, 32, CIFAR_MEAN, CIFAR_STD, SMALL),
    "cifar10_10k": ImageSet(
        "CIFAR-10, 10,000 training and 2,000 test images",
        10, 10_000, 2_000, 3, 32, CIFAR_MEAN, CIFAR_STD, SMALL,
    ),
    "cifar100": ImageSet("CIFAR-100", 100, 50_000, 10_000, 3, 32, CIFAR_MEAN, CIFAR_STD, SMALL),
    "stl10": ImageSet("STL-10", 10, 5_000, 8_000, 3, 96, HALF, HALF, SMALL),
    "mnist": ImageSet("MNIST", 10, 60_000, 10_000, 1, 28, HALF[:1], HALF[:1], SMALL),
    "svhn": ImageSet("SVHN", 10, 73_257, 26_032, 3, 32, HALF, HALF, SMALL),
    "flowers102": ImageSet("Flowers-102", 102, 1_020, 6_149, 3, 224, HALF, HALF, PUBLISHED),
    "pets": ImageSet("Oxford-IIIT Pets", 37, 3_680, 3_669, 3, 224, HALF, HALF, PUBLISHED),
    "food101": ImageSet(
        "Food-101", 101, 75_750, 25_250, 3, 224, IMAGENET_MEAN, IMAGENET_STD, PUBLISHED
    ),
}  # fmt: skip

PUBLIC: dict[str, PublicSet] = {
    "cifar10": PublicSet(
        "CIFAR-10",
        lambda d: [File(d.CIFAR10.filename, d.CIFAR10.tgz_md5)],
        lambda d: files_of_cifar(d.CIFAR10),
        lambda d, root, download: read_cifar(d.CIFAR10, root, download),
    ),
    "cifar10_10k": PublicSet(
        "CIFAR-10",
        lambda d: [File(d.CIFAR10.filename, d.CIFAR10.tgz_md5)],
        lambda d: files_of_cifar(first_batch(d)),
        lambda d, root, download: read_cifar(first_batch(d), root, download),
    ),
    "cifar100": PublicSet(
        "CIFAR-100",
        lambda d: [File(d.CIFAR100.filename, d.CIFAR100.tgz_md5)],
        lambda d: files_of_cifar(d.CIFAR100),
        lambda d, root, download: read_cifar(d.CIFAR100, root, download),
    ),
    "stl10": PublicSet(
        "STL-10",
        lambda d: [File(d.STL10.filename, d.STL10.tgz_md5)],
        files_of_stl10,
        read_stl10,
    ),
    "mnist": PublicSet(
        "MNIST",
        lambda d: [File(f"MNIST/raw/{name}", md5) for name, md5 in d.MNIST.resources],
        lambda d: [File(f"MNIST/raw/{name}") for name in MNIST_FILES],
        read_mnist,
    ),
    "svhn": PublicSet("SVHN", files_of_svhn, files_of_svhn, read_svhn),
    "flowers102": PublicSet(
        "Flowers-102",
        lambda d: files_of_flowers("102flowers.tgz"),
        lambda d: [File("flowers-102/jpg"), *files_of_flowers()],
        read_flowers,
    ),
    "pets": PublicSet(
        "Oxford-IIIT Pets",
        lambda d: [
            File("oxford-iiit-pet/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            File("oxford-iiit-pet/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ],
        lambda d: [
            File("oxford-iiit-pet/images"),
            File("oxford-iiit-pet/annotations/trainval.txt"),
            File("oxford-iiit-pet/annotations/test.txt"),
        ],
        read_pets,
    ),
    "food101": PublicSet(
        "Food-101",
        lambda d: [File("food-101.tar.gz", "85eeb15f3717b99a5da872d97d918f87")],
        lambda d: [
            File("food-101/images"),
            File("food-101/meta/train.json"),
            File("food-101/meta/test.json"),
        ],
        read_food101,
    ),
}


def public_task(settings: TaskSettings) -> ImageTask:
    """Build a task on one of the sets.

    Args:
        settings: whose name is the set's.

    Returns:
        The source of the task.
    """

    def read() -> ImageSplits:
        return read_public(PUBLIC[settings.name], settings.root)

    return ImageTask(FACTS[settings.name], settings, read)


def cifar10_10k(settings: TaskSettings) -> ImageTask:
    """CIFAR-10's first training batch and its first 2,000 test images, in the official order.

    Args:
        settings: whose ``root`` may be an ``.npz`` file with just these images.

    Returns:
        The source of the task.
    """
    facts = FACTS["cifar10_10k"]

    def read() -> ImageSplits:
        if settings.root is not None and settings.root.suffix == ".npz":
            return image_splits(read_arrays(settings.root))
        found = read_public(PUBLIC["cifar10_10k"], settings.root)
        return ImageSplits(found.train, _first(found.test, facts.num_test))

    return ImageTask(facts, settings, read)


def _first(found: LabelledImages, num: int) -> LabelledImages:
    kept: Tensor = torch.arange(min(num, len(found.labels)))
    assert isinstance(found.images, Pixels)
    return LabelledImages(Pixels(found.images.values[kept]), found.labels[kept])
