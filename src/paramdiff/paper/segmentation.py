"""Segmentation of COCO's images into VOC's classes, from the outlines of COCO's objects.

Classes follow torchvision's reference training: the twenty classes of VOC, 0 for everything else;
pixels of two objects at once are ignored; a crowd counts as its class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.errors import UserError
from paramdiff.networks.libraries import library
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.coco import (
    CocoImage,
    CocoSplits,
    OutlinedObject,
    RunLengths,
    coco_sizes,
    read_coco,
)
from paramdiff.paper.networks import NUM_SEGMENTATION_CLASSES, build_segmenter
from paramdiff.tasks.base import Scores, TaskDescription
from paramdiff.tasks.custom import CustomTask
from paramdiff.tasks.images import Preparation
from paramdiff.tasks.public import IMAGENET_MEAN, IMAGENET_STD
from paramdiff.tasks.task_settings import TaskSettings

VOC_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch",
    "train", "tv",
)  # fmt: skip
"""COCO's names of VOC's classes, in the order of published networks; the first is class 1."""
IGNORED = 255


def label_map(image: CocoImage, labels: dict[int, int]) -> Tensor:
    """Compute the classes of an image's pixels.

    Args:
        image: with outlined objects.
        labels: category's number to class; objects of other categories are background.

    Returns:
        uint8 ``[H, W]``: 0 to 20, and 255 for ignored pixels.

    Raises:
        UserError: an outline is malformed or has another size.
    """
    classes = torch.zeros(image.height, image.width, dtype=torch.uint8)
    times_covered = torch.zeros(image.height, image.width, dtype=torch.int64)
    for found in image.objects:
        if found.category_id in labels:
            mask = mask_of(image, found)
            classes[mask] = labels[found.category_id]
            times_covered += mask
    return classes.masked_fill_(times_covered > 1, IGNORED)


def mask_of(image: CocoImage, found: OutlinedObject) -> Tensor:
    """Decode the mask ``[H, W]`` of an object; a ``UserError`` if its outline does not fit."""
    masks = library("pycocotools.mask", "detection")
    outline = found.segmentation
    size = (image.height, image.width)
    if isinstance(outline, RunLengths):
        counts = outline.counts
        covered = sum(counts) if isinstance(counts, list) else image.height * image.width
        if outline.size != size or covered != image.height * image.width:
            raise UserError(
                f"{image.path}: a mask must have {image.height}x{image.width} pixels, but one has "
                f"run lengths of {outline.size[0]}x{outline.size[1]} that cover {covered}"
            )
        run_lengths = {"counts": counts, "size": list(size)}
        if isinstance(counts, list):
            run_lengths = masks.frPyObjects(run_lengths, *size)
    else:
        run_lengths = masks.merge(masks.frPyObjects(outline, *size))
    return torch.from_numpy(masks.decode(run_lengths)).bool()


TITLE = "COCO segmentation into VOC's classes"
NETWORK = NetworkSettings(name="torchvision/fcn_resnet50", pretrained=True)
SHORTER_SIDE = 520  # of the images that torchvision's published networks were tested on
AUXILIARY = 0.5  # weight of the second head's loss, as in torchvision's reference training
PIXELS_PER_IMAGE = 16


@dataclass(frozen=True)
class CocoSegmentation:
    """Specification of the task in a recipe."""

    settings: TaskSettings

    @property
    def network(self) -> NetworkSettings:
        """The recipe's network, or the paper's."""
        return self.settings.network or NETWORK

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``; the sizes are those of COCO itself."""
        build = partial(build_segmenter, self.network)
        return TaskDescription(TITLE, None, None, *coco_sizes(self.settings), build)

    def build(self) -> CustomTask:
        """See ``TaskSpec``."""
        library("pycocotools.mask", "detection")
        library("torchvision")
        splits = read_coco(self.settings, outlines=True)
        shown = ShownImages(
            splits, voc_labels(splits.categories), self.settings.image_size or SHORTER_SIDE
        )
        build = partial(build_segmenter, self.network)
        return CustomTask(
            name=TITLE,
            score_name="mIoU",
            is_fraction=True,
            num_train=len(splits.train),
            num_validation=len(splits.validation),
            num_test=len(splits.test),
            build_network=build,
            loss=partial(segmentation_loss, shown, self.settings.augment),
            score=partial(segmentation_scores, shown),
            build_pretrained=partial(build, pretrained=True) if self.network.pretrained else None,
            network_name=self.network.name,
            selects_on_test=self.settings.protocol == "paper",
        )


def voc_labels(categories: dict[int, str]) -> dict[int, int]:
    """Map categories' numbers to VOC's classes, by their names.

    Args:
        categories: number to name.

    Returns:
        Number to class, 1 to 20.

    Raises:
        UserError: no category is one of VOC's.
    """
    labels = {
        number: 1 + VOC_CLASSES.index(name)
        for number, name in categories.items()
        if name in VOC_CLASSES
    }
    if not labels:
        raise UserError(
            f"task.root: no category is among {', '.join(VOC_CLASSES)}; there are "
            f"{', '.join(categories.values()) or 'none'}"
        )
    return labels


@dataclass(frozen=True)
class ShownImages:
    """Images and classes of their pixels at the input size of the network.

    Attributes:
        splits: the images.
        labels: category's number to class.
        size: pixels of the shorter side.
    """

    splits: CocoSplits
    labels: dict[int, int]
    size: int

    def read(self, image: CocoImage) -> tuple[Tensor, Tensor]:
        """Return an input ``[3, h, w]`` and the classes ``[h, w]`` of its pixels, int64."""
        functional = library("torchvision.transforms.v2.functional")
        pixels = functional.resize(image.read(), [self.size])
        classes = functional.resize(
            label_map(image, self.labels)[None],
            list(pixels.shape[1:]),
            interpolation=functional.InterpolationMode.NEAREST,
        )
        preparation = Preparation(self.size, IMAGENET_MEAN, IMAGENET_STD)
        return preparation.normalized(pixels), classes[0].long()


def segmentation_loss(
    shown: ShownImages, mirror: bool, network: nn.Module, rows: Tensor, generator: torch.Generator
) -> Tensor:
    """Compute the mean cross-entropy per pixel, plus half of the second head's.

    Images of a batch are padded to the largest of them; padding is ignored.

    Args:
        shown: the images.
        mirror: if half of them are mirrored.
        network: in its own mode.
        rows: of the training split, ``[B]``.
        generator: chooses the mirrored images.

    Returns:
        A scalar.

    Raises:
        UserError: the batch is too small for statistics of the network's layers.
    """
    device = next(network.parameters()).device
    is_mirrored = (torch.rand(len(rows), generator=generator) < 0.5) & mirror
    pairs = [shown.read(shown.splits.train[row]) for row in rows.tolist()]
    height, width = (max(p.shape[side] for p, _ in pairs) for side in (1, 2))
    inputs = torch.zeros(len(pairs), 3, height, width)
    truth = torch.full((len(pairs), height, width), IGNORED)
    for row, (pixels, classes) in enumerate(pairs):
        if is_mirrored[row]:
            pixels, classes = pixels.flip(-1), classes.flip(-1)
        inputs[row, :, : pixels.shape[1], : pixels.shape[2]] = pixels
        truth[row, : pixels.shape[1], : pixels.shape[2]] = classes
    try:
        outputs, truth = network(inputs.to(device)), truth.to(device)
    except ValueError as error:  # of a BatchNorm layer behind a pooling of the whole image
        raise UserError(
            f"{len(pairs)} images of {height}x{width} pixels cannot train this network in its "
            f"training mode: {error}"
        ) from None
    loss = F.cross_entropy(outputs["out"], truth, ignore_index=IGNORED)
    if "aux" in outputs:
        second = F.cross_entropy(outputs["aux"], truth, ignore_index=IGNORED)
        loss = loss + AUXILIARY * second
    return loss


@torch.no_grad()
def segmentation_scores(
    shown: ShownImages, network: nn.Module, split: Literal["validation", "test"]
) -> Scores:
    """Compute a network's mIoU and its errors on sampled pixels of each image.

    Args:
        shown: the images.
        network: is put into evaluation mode.
        split: which images.

    Returns:
        One value: the intersection over union of predicted and true pixels, the mean over the
        classes that are predicted or true somewhere in the split.
    """
    from torchmetrics.classification import MulticlassJaccardIndex

    images: Sequence[CocoImage] = getattr(shown.splits, split)
    device = next(network.parameters()).device
    network.eval()
    overlap = MulticlassJaccardIndex(
        NUM_SEGMENTATION_CLASSES, ignore_index=IGNORED, validate_args=False
    )
    wrong = []
    for number, image in enumerate(images):
        pixels, classes = shown.read(image)
        predicted = network(pixels[None].to(device))["out"].argmax(1)[0].cpu()
        overlap.update(predicted, classes)
        places = sampled_pixels(classes, torch.Generator().manual_seed(number))
        wrong.append(predicted.flatten()[places] != classes.flatten()[places])
    return Scores(overlap.compute()[None], torch.cat(wrong))


def sampled_pixels(classes: Tensor, generator: torch.Generator) -> Tensor:
    """Draw 16 places of pixels that are not ignored, with replacement."""
    counted = (classes.flatten() != IGNORED).nonzero()[:, 0]
    if len(counted) == 0:
        return counted
    return counted[torch.randint(len(counted), (PIXELS_PER_IMAGE,), generator=generator)]
