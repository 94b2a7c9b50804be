"""How good detections are: COCO's average precision, and which objects were missed.

Boxes are ``[.., 4]``: left, top, right and bottom in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OVERLAP = 0.5
CONFIDENCE = 0.5


@dataclass(frozen=True)
class Detections:
    """What a network sees on one image.

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
    """What is on one image.

    Attributes:
        boxes: ``[O, 4]``.
        labels: ``[O]`` int64.
        is_crowd: ``[O]`` bool: many objects in one box, where detections count neither way.
    """

    boxes: Tensor
    labels: Tensor
    is_crowd: Tensor


def average_precision(detections: Sequence[Detections], truth: Sequence[Objects]) -> float:
    """COCO's average precision: over classes and over overlaps from 0.5 to 0.95.

    Args:
        detections: of each image, on the CPU.
        truth: of each image; one object at least is no crowd.

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
    """Which objects no detection finds.

    An object is found where a detection of its class with a confidence of at least 0.5 overlaps
    it by at least 0.5 (intersection over union). One detection may find several.

    Args:
        detections: of each image, on the CPU.
        truth: of each image.

    Returns:
        ``[W]`` bool, one per object that is no crowd, in the order of images and objects.
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
