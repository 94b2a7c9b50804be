"""The class of every pixel, from the outlines of COCO's objects.

As torchvision's reference training has it: the twenty classes of VOC, 0 for everything else;
pixels of two objects at once are ignored; a crowd counts as its class.
"""

import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.libraries import library
from paramdiff.tasks.coco import CocoImage, OutlinedObject, RunLengths

VOC_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch",
    "train", "tv",
)  # fmt: skip
"""COCO's names of them, in the order of the published networks; the first is class 1."""
IGNORED = 255


def label_map(image: CocoImage, labels: dict[int, int]) -> Tensor:
    """The classes of an image's pixels.

    Args:
        image: with outlined objects.
        labels: category's number to class; objects of other categories are background.

    Returns:
        uint8 ``[H, W]``: 0 to 20, and 255 for what is ignored.

    Raises:
        UserError: an outline is none, or of another size.
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
    """Which pixels ``[H, W]`` of an image an object covers; a ``UserError`` where none can be."""
    masks = library("pycocotools.mask", "detection")
    outline = found.segmentation
    size = (image.height, image.width)
    if isinstance(outline, RunLengths):
        counts = outline.counts
        covered = sum(counts) if isinstance(counts, list) else image.height * image.width
        if outline.size != size or covered != image.height * image.width:
            raise UserError(
                f"{image.path}: expected a mask of {image.height}x{image.width} pixels, found run "
                f"lengths of {outline.size[0]}x{outline.size[1]} that cover {covered}"
            )
        run_lengths = {"counts": counts, "size": list(size)}
        if isinstance(counts, list):
            run_lengths = masks.frPyObjects(run_lengths, *size)
    else:
        run_lengths = masks.merge(masks.frPyObjects(outline, *size))
    return torch.from_numpy(masks.decode(run_lengths)).bool()
