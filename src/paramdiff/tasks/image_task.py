"""Image sets to tasks: splits, sizes, augmentation, the network for them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.base import Split, TaskDescription, network_builders
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.images import LabelledImages, Preparation, PreparedImages
from paramdiff.tasks.splits import carve, split_sizes
from paramdiff.tasks.task_settings import TaskSettings


@dataclass(frozen=True)
class ImageSplits:
    """The data that were read.

    Attributes:
        train: all that may be trained on.
        test: what is scored once.
        validation: what selects, where the set has a split for it.
    """

    train: LabelledImages
    test: LabelledImages
    validation: LabelledImages | None = None


@dataclass(frozen=True)
class ImageSet:
    """Facts about an image set that are known before it is read.

    Attributes:
        title: display name.
        num_classes: ``K``.
        num_train: images that may be trained on.
        num_test: test images.
        channels: 1 or 3.
        size: pixels per side, where the recipe says nothing.
        mean: per channel, for pixels in [0, 1].
        std: per channel.
        network: the default of a recipe.
        num_validation: if the set has a split for it.
    """

    title: str
    num_classes: int
    num_train: int
    num_test: int
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: NetworkSettings
    num_validation: int | None = None


@dataclass(frozen=True)
class ImageTask:
    """A recipe's task on an image set.

    Attributes:
        facts: of the set.
        settings: of the recipe.
        read: the images, or a ``UserError``.
    """

    facts: ImageSet
    settings: TaskSettings
    read: Callable[[], ImageSplits]

    @property
    def size(self) -> int:
        """Pixels per side of an input."""
        return self.settings.image_size or self.facts.size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.facts.channels, self.size, self.size)

    @property
    def network(self) -> NetworkSettings:
        """The recipe's, or the set's own."""
        return self.settings.network or self.facts.network

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``."""
        facts, protocol = self.facts, self.settings.protocol
        sizes = split_sizes(facts.num_train, facts.num_test, facts.num_classes, protocol)
        if facts.num_validation is not None and protocol == "validation":
            sizes = (facts.num_train, facts.num_validation, facts.num_test)
        build, _ = network_builders(self.network, facts.num_classes, self.input_shape)
        return TaskDescription(facts.title, self.input_shape, facts.num_classes, *sizes, build)

    def build(self) -> ClassificationTask:
        """See ``TaskSpec``."""
        found, facts = self.read(), self.facts
        preparation = Preparation(self.size, facts.mean, facts.std)
        everything = torch.arange(len(found.train.labels))
        test = _split(found.test, torch.arange(len(found.test.labels)), preparation)
        if self.settings.protocol == "paper":
            rows, validation = everything, test
        elif found.validation is not None:
            rows = everything
            validation = _split(
                found.validation, torch.arange(len(found.validation.labels)), preparation
            )
        else:
            rows, aside = carve(found.train.labels, facts.num_classes, self.settings.seed)
            validation = _split(found.train, aside, preparation)
        inputs = PreparedImages(found.train.images, rows, preparation)
        build, build_pretrained = network_builders(
            self.network, facts.num_classes, self.input_shape
        )
        return ClassificationTask(
            facts.title,
            Split(inputs, found.train.labels[rows]),
            validation,
            test,
            build,
            augmented=inputs.augmented if self.settings.augment else None,
            build_pretrained=build_pretrained,
            network_name=self.network.name,
            inputs_in_words=preparation.in_words(found.train.images),
        )


def _split(found: LabelledImages, rows: torch.Tensor, preparation: Preparation) -> Split:
    return Split(PreparedImages(found.images, rows, preparation), found.labels[rows])
