"""Patches of scikit-learn's two bundled photographs: inputs that are no digits."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.base import OODInputs, Split, TaskDescription, network_builders
from paramdiff.tasks.classification import Augmented, ClassificationTask
from paramdiff.tasks.images import Pixels, Preparation, PreparedImages
from paramdiff.tasks.task_settings import TaskSettings

PATCHES_PER_PHOTOGRAPH = 500


def photograph_patches(seed: int) -> OODInputs:
    """Grey 8x8 patches of two photographs, each stretched to the digits' range of brightness.

    Args:
        seed: of the places that are cut out.

    Returns:
        1,000 patches ``[1000, 1, 8, 8]``.
    """
    photographs = load_sample_images().images
    patches = torch.stack(
        [
            torch.tensor(patch, dtype=torch.float32)
            for photograph in photographs
            for patch in extract_patches_2d(
                photograph.mean(2), (8, 8), max_patches=PATCHES_PER_PHOTOGRAPH, random_state=seed
            )
        ]
    )
    low, high = patches.amin((1, 2), keepdim=True), patches.amax((1, 2), keepdim=True)
    stretched = (patches - low) / (high - low).clamp(min=1)
    return OODInputs("8x8 patches of photographs", stretched[:, None])


TITLE = "scikit-learn digits"
SHAPE = (1, 8, 8)
NUM_CLASSES = 10
NUM_IMAGES = 1797
NUM_TEST = 1000
NUM_TRAIN = 300


@dataclass(frozen=True)
class DigitsTask:
    """The digits as a recipe wants them."""

    settings: TaskSettings

    def __post_init__(self) -> None:
        refuse_root(self.settings)
        if self.settings.image_size not in (None, SHAPE[1]):
            raise UserError(
                f"task.image_size: the digits have {SHAPE[1]} pixels per side, "
                f"found {self.settings.image_size}"
            )

    @property
    def network(self) -> NetworkSettings:
        """The recipe's, or the quickstart's."""
        return self.settings.network or NetworkSettings(name="digits_cnn")

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``."""
        rest = NUM_IMAGES - NUM_TEST
        sizes = (NUM_TRAIN, rest - NUM_TRAIN, NUM_TEST)
        if self.settings.protocol == "paper":
            sizes = (rest, NUM_TEST, NUM_TEST)
        build, _ = network_builders(self.network, NUM_CLASSES, SHAPE)
        return TaskDescription(TITLE, SHAPE, NUM_CLASSES, *sizes, build)

    def build(self) -> ClassificationTask:
        """See ``TaskSpec``."""
        seed = self.settings.seed
        images, labels = load_digits(return_X_y=True)
        rest, test = train_test_split(
            range(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=seed
        )
        train, validation = train_test_split(
            rest, train_size=NUM_TRAIN, stratify=labels[rest], random_state=seed
        )

        def split(rows: list[int]) -> Split:
            inputs = torch.tensor(images[rows] / 16.0, dtype=torch.float32).view(-1, *SHAPE)
            return Split(inputs, torch.tensor(labels[rows], dtype=torch.int64))

        is_paper = self.settings.protocol == "paper"
        training, testing = split(rest if is_paper else train), split(test)
        build, build_pretrained = network_builders(self.network, NUM_CLASSES, SHAPE)
        return ClassificationTask(
            TITLE,
            training,
            testing if is_paper else split(validation),
            testing,
            build,
            augmented=crops_of(training) if self.settings.augment else None,
            build_pretrained=build_pretrained,
            out_of_distribution=photograph_patches(seed),
            network_name=self.network.name,
            inputs_in_words="pixels over 16",
        )


def crops_of(split: Split) -> Augmented:
    """Random crops and mirror images of float images that are in memory."""
    pixels = split.inputs[:]
    preparation = Preparation(pixels.shape[-1], mean=(), std=())
    return PreparedImages(Pixels(pixels), torch.arange(len(pixels)), preparation).augmented


def refuse_root(settings: TaskSettings) -> None:
    """Raise a ``UserError`` if data are given for a set that comes with scikit-learn."""
    if settings.root is not None:
        raise UserError(
            f"task.root: {settings.name} comes with scikit-learn and is read from nowhere else, "
            f"found {settings.root}"
        )


def digits(seed: int = 0) -> ClassificationTask:
    """Build the digits task of the quickstart.

    Args:
        seed: of the split into training, validation and test images.

    Returns:
        300 training, 497 validation and 1,000 test images, each class in proportion.
    """
    return DigitsTask(TaskSettings(name="digits", seed=seed)).build()
