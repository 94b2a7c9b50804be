"""Object detection on COCO: average precision, missed objects, and the loss of detectors.

Boxes are ``[.., 4]``: left, top, right and bottom in pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.networks.libraries import library
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.coco import CocoImage, CocoSplits, coco_sizes, read_coco
from paramdiff.paper.networks import NUM_BOX_CLASSES, build_detector
from paramdiff.tasks.base import Scores, TaskDescription
from paramdiff.tasks.custom import CustomTask
from paramdiff.tasks.task_settings import TaskSettings

OVERLAP = 0.5
CONFIDENCE = 0.5


@dataclass(frozen=True)
class Detections:
    """Detected objects of one image.

    Attributes:
        boxes: ``[D, 4]``.
        labels: ``[D]`` int64.
        confidences: ``[D]`` in [0, 1].
    """

    boxes: Tensor
    labels: Tensor
    confidences: Tensor


@dataclass(frozen=True)
class Objects:
    """True objects of one image.

    Attributes:
        boxes: ``[O, 4]``.
        labels: ``[O]`` int64.
        is_crowd: ``[O]`` bool: many objects in one box, in which detections count neither way.
    """

    boxes: Tensor
    labels: Tensor
    is_crowd: Tensor


def average_precision(detections: Sequence[Detections], truth: Sequence[Objects]) -> float:
    """Compute COCO's average precision: over classes and overlaps from 0.5 to 0.95.

    Args:
        detections: of each image, on the CPU.
        truth: of each image; at least one object is not a crowd.

    Returns:
        A number in [0, 1].
    """
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend="pycocotools")
    metric.warn_on_many_detections = False  # the best hundred count, as COCO has it
    metric.update(
        [{"boxes": d.boxes, "scores": d.confidences, "labels": d.labels} for d in detections],
        [{"boxes": t.boxes, "labels": t.labels, "iscrowd": t.is_crowd.long()} for t in truth],
    )
    return float(metric.compute()["map"])


def missed(detections: Sequence[Detections], truth: Sequence[Objects]) -> Tensor:
    """Find the objects that no detection covers.

    An object is found if a detection of its class with a confidence of at least 0.5 overlaps it by
    at least 0.5 (intersection over union). One detection may find several.

    Args:
        detections: of each image, on the CPU.
        truth: of each image.

    Returns:
        ``[W]`` bool, one per object that is not a crowd, in the order of images and objects.
    """
    from torchvision.ops import box_iou

    parts = []
    for found, there in zip(detections, truth, strict=True):
        sure = found.confidences >= CONFIDENCE
        single = ~there.is_crowd
        overlaps = box_iou(there.boxes[single], found.boxes[sure]) >= OVERLAP
        same = there.labels[single][:, None] == found.labels[sure][None]
        parts.append(~(overlaps & same).any(1))
    return torch.cat(parts)


TITLE = "COCO detection"
NETWORK = NetworkSettings(name="torchvision/fasterrcnn_resnet50_fpn", pretrained=True)


@dataclass(frozen=True)
class CocoDetection:
    """Specification of the task in a recipe."""

    settings: TaskSettings

    @property
    def network(self) -> NetworkSettings:
        """The recipe's network, or the first of the paper."""
        return self.settings.network or NETWORK

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``; the sizes are those of COCO itself."""
        build = partial(build_detector, self.network, self.settings.image_size)
        return TaskDescription(TITLE, None, None, *coco_sizes(self.settings), build)

    def build(self) -> CustomTask:
        """See ``TaskSpec``."""
        library("pycocotools.mask", "detection")
        library("torchvision")
        splits = read_coco(self.settings, outlines=False)
        check_objects(splits)
        build = partial(build_detector, self.network, self.settings.image_size)
        return CustomTask(
            name=TITLE,
            score_name="average precision",
            is_fraction=True,
            num_train=len(splits.train),
            num_validation=len(splits.validation),
            num_test=len(splits.test),
            build_network=build,
            loss=partial(detection_loss, splits.train, self.settings.augment),
            score=partial(detection_scores, splits),
            build_pretrained=partial(build, pretrained=True) if self.network.pretrained else None,
            network_name=self.network.name,
            selects_on_test=self.settings.protocol == "paper",
        )


def check_objects(splits: CocoSplits) -> None:
    """Raise a ``UserError`` if the network lacks a class, or a split has no object."""
    for name in ("train", "validation", "test"):
        images: Sequence[CocoImage] = getattr(splits, name)
        for image in images:
            for found in image.objects:
                if not 0 < found.category_id < NUM_BOX_CLASSES:
                    raise UserError(
                        f"{image.path}: the network's categories have ids from 1 to "
                        f"{NUM_BOX_CLASSES - 1}, but one here has {found.category_id} "
                        f"({splits.categories[found.category_id]!r})"
                    )
        if all(bool(objects_of(image).is_crowd.all()) for image in images):
            raise UserError(f"task.root: there are no objects on the {len(images)} {name} images")


def objects_of(image: CocoImage) -> Objects:
    """Return the objects of an image; boxes are clipped to it, and empty ones left out."""
    left, top, width, height = torch.tensor([o.bbox for o in image.objects]).view(-1, 4).unbind(1)
    boxes = torch.stack([left, top, left + width, top + height], 1)
    boxes[:, 0::2].clamp_(0, image.width)
    boxes[:, 1::2].clamp_(0, image.height)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    labels = torch.tensor([o.category_id for o in image.objects], dtype=torch.int64)
    is_crowd = torch.tensor([o.iscrowd for o in image.objects], dtype=torch.bool)
    return Objects(boxes[has_area], labels[has_area], is_crowd[has_area])


def detection_loss(
    images: Sequence[CocoImage],
    mirror: bool,
    network: nn.Module,
    rows: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Compute the sum of a detector's losses; crowds are left out.

    Args:
        images: of the training split.
        mirror: if half of the images are mirrored.
        network: a detector in its own mode.
        rows: of the training split, ``[B]``.
        generator: chooses the mirrored images.

    Returns:
        A scalar.
    """
    device = next(network.parameters()).device
    is_mirrored = (torch.rand(len(rows), generator=generator) < 0.5) & mirror
    inputs, targets = [], []
    for row, flip in zip(rows.tolist(), is_mirrored.tolist(), strict=True):
        pixels, objects = images[row].read(), objects_of(images[row])
        boxes = objects.boxes[~objects.is_crowd]
        if flip:
            pixels = pixels.flip(-1)
            boxes = torch.stack(
                [pixels.shape[-1] - boxes[:, 2], boxes[:, 1],
                 pixels.shape[-1] - boxes[:, 0], boxes[:, 3]], 1
            )  # fmt: skip
        labels = objects.labels[~objects.is_crowd]
        inputs.append(pixels.to(device) / 255)
        targets.append({"boxes": boxes.to(device), "labels": labels.to(device)})
    with returning_losses(network):
        return torch.stack(list(network(inputs, targets).values())).sum()


@contextmanager
def returning_losses(network: nn.Module) -> Iterator[None]:
    """Make a detector return losses, with its BatchNorm and dropout layers in their own mode.

    Torchvision's detectors return losses in training mode only, in which these layers change.

    Args:
        network: a detector; afterwards every module is in the mode that it was in.

    Yields:
        Nothing.
    """
    modes = {module: module.training for module in network.modules()}
    kept = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    for module in modes:
        module.training = module.training if isinstance(module, kept) else True
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def detection_scores(
    splits: CocoSplits, network: nn.Module, split: Literal["validation", "test"]
) -> Scores:
    """Compute a detector's average precision and the objects that it misses.

    Args:
        splits: the images.
        network: is put into evaluation mode.
        split: which images.

    Returns:
        One value.
    """
    images: Sequence[CocoImage] = getattr(splits, split)
    device = next(network.parameters()).device
    network.eval()
    found = []
    for image in images:
        output = network([image.read().to(device) / 255])[0]
        output = {name: tensor.cpu() for name, tensor in output.items()}
        found.append(Detections(output["boxes"], output["labels"], output["scores"]))
    truth = [objects_of(image) for image in images]
    return Scores(torch.tensor([average_precision(found, truth)]), missed(found, truth))
