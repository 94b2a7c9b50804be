"""torchvision's detectors with COCO's 91 classes, untrained or with published weights.

Only those that learn from boxes alone and take images of any size. Where torchvision builds a
detector with published weights, the BatchNorm layers of its backbone are frozen: what else are
parameters are buffers there, which nothing trains. The untrained network of a recipe that starts
from published weights is built the same way, so that both have the same tensors.
"""

from torch import nn

from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.networks.libraries import (
    TORCHVISION,
    library,
    load_whole,
    published_values,
    unknown,
)

KINDS = ("fasterrcnn_", "fcos_", "retinanet_")
NUM_CLASSES = 91  # COCO's category numbers, with their gaps, and 0 for what is none
LONGEST = 1333 / 800  # a longer side at most, in shorter sides; torchvision's own proportion
EXACT = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""Their published weights were trained without the small number added to variances."""
THAWED = "_v2"  # torchvision trains the BatchNorm layers of these


def detector_names() -> list[str]:
    """The detectors that there are, as ``torchvision/NAME``."""
    models = library("torchvision.models")
    names = models.list_models(module=models.detection)
    return [TORCHVISION + name for name in names if name.startswith(KINDS)]


def build_detector(
    settings: NetworkSettings, image_size: int | None, *, pretrained: bool = False
) -> nn.Module:
    """Build a detector; its random weights come from torch's global generator.

    Args:
        settings: which, and whether training starts from published weights.
        image_size: pixels of the shorter side that it resizes images to; none: torchvision's.
        pretrained: whether to fetch published weights; without them nothing is read or fetched.

    Returns:
        A network from a list of images ``[3, H, W]`` in [0, 1], of any sizes, to boxes, labels and
        scores; with boxes and labels, while it is trained, to a dictionary of losses.

    Raises:
        UserError: there is no such detector (with the nearest), or its weights cannot be had.
    """
    if settings.name not in detector_names():
        raise unknown(settings.name, detector_names())
    own_name = settings.name.removeprefix(TORCHVISION)
    sizes = {}
    if image_size is not None:
        sizes = {"min_size": image_size, "max_size": round(image_size * LONGEST)}
    network = library("torchvision.models").get_model(
        own_name, weights=None, weights_backbone=None, num_classes=NUM_CLASSES, **sizes
    )
    if settings.pretrained and not own_name.endswith(THAWED):
        freeze_normalisation(network.backbone, 0.0 if own_name in EXACT else 1e-5)
    if pretrained:
        load_whole(settings.name, network, published_values(settings.name))
    return network


def freeze_normalisation(network: nn.Module, eps: float) -> None:
    """Replace every BatchNorm layer by one whose tensors are all buffers; in place."""
    frozen = library("torchvision.ops").FrozenBatchNorm2d
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, frozen(child.num_features, eps=eps))
