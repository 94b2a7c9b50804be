"""Networks of the paper's other tasks: DDPM's U-Net, torchvision's detectors and segmenters.

The U-Net (Ho et al. 2020, built by diffusers; ``unet128`` is the paper's) has four resolutions of
widths N, 2N, 2N and 2N with two residual blocks each, and attention at the second.
"""

import math
import re

from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.libraries import (
    TORCHVISION,
    library,
    load_whole,
    no_weights,
    published_values,
    quiet_downloads,
    unknown,
)
from paramdiff.networks.network_settings import NetworkSettings

PUBLISHED = {"unet128": "google/ddpm-cifar10-32"}
DEEPEST = 8  # downsampling factor of the last resolution
GROUPS = 32


def build_noise_predictor(
    settings: NetworkSettings, channels: int, image_size: int, *, pretrained: bool = False
) -> nn.Module:
    """Build a U-Net; its random weights come from torch's global generator.

    Args:
        settings: ``unetN`` with the width N of the first resolution, a multiple of 8.
        channels: of the images.
        image_size: pixels per side.
        pretrained: if published weights are loaded; else nothing is read or downloaded.

    Returns:
        A network from noisy images ``[B, C, H, W]`` and timesteps ``[B]`` to an object whose
        ``sample`` is the noise in them.

    Raises:
        UserError: the name is not a U-Net's, the size does not fit, or weights are unavailable.
    """
    from diffusers import UNet2DModel

    match = re.fullmatch(r"unet([1-9]\d*)", settings.name)
    if match is None or (width := int(match[1])) % 8:
        raise UserError(
            f"task.network.name: {settings.name!r} is not 'unetN' with a width N that is a "
            "multiple of 8, as 'unet128'"
        )
    if image_size % DEEPEST:
        raise UserError(
            f"task.image_size: {settings.name!r} takes images whose sides are a multiple of "
            f"{DEEPEST} pixels, found {image_size}"
        )
    if settings.pretrained and (settings.name not in PUBLISHED or channels != 3):
        raise UserError(
            f"task.network.pretrained: {settings.name!r} has no published weights for images of "
            f"{channels} channels; 'unet128' has for 3"
        )
    network = UNet2DModel(
        sample_size=image_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(width, 2 * width, 2 * width, 2 * width),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        attention_head_dim=None,  # one head
        norm_eps=1e-6,
        norm_num_groups=math.gcd(GROUPS, width),
    )
    if pretrained:
        try:
            with quiet_downloads():
                published = UNet2DModel.from_pretrained(PUBLISHED[settings.name])
            network.load_state_dict(published.state_dict())
        except Exception as error:  # of the network connection or the file: any type
            raise no_weights(settings.name, error) from None
    return network


KINDS = ("fasterrcnn_", "fcos_", "retinanet_")
NUM_BOX_CLASSES = 91  # COCO's category numbers, with their gaps, and 0 for the background
LONGEST = 1333 / 800  # longest side relative to the shorter one, as in torchvision
EXACT = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""Their published weights were trained without the small number added to variances."""
THAWED = "_v2"  # torchvision trains the BatchNorm layers of these


def detector_names() -> list[str]:
    """List the detectors of torchvision, as ``torchvision/NAME``."""
    models = library("torchvision.models")
    names = models.list_models(module=models.detection)
    return [TORCHVISION + name for name in names if name.startswith(KINDS)]


def build_detector(
    settings: NetworkSettings, image_size: int | None, *, pretrained: bool = False
) -> nn.Module:
    """Build a detector; its random weights come from torch's global generator.

    Args:
        settings: its name, and if training starts from published weights.
        image_size: pixels of the shorter side after resizing; None takes torchvision's.
        pretrained: if published weights are loaded; else nothing is read or downloaded.

    Returns:
        A network from a list of images ``[3, H, W]`` in [0, 1], of any sizes, to boxes, labels and
        scores; in training, with boxes and labels, to a dictionary of losses.

    Raises:
        UserError: the detector is unknown (the nearest is suggested) or weights are unavailable.
    """
    if settings.name not in detector_names():
        raise unknown(settings.name, detector_names())
    own_name = settings.name.removeprefix(TORCHVISION)
    sizes = {}
    if image_size is not None:
        sizes = {"min_size": image_size, "max_size": round(image_size * LONGEST)}
    network = library("torchvision.models").get_model(
        own_name, weights=None, weights_backbone=None, num_classes=NUM_BOX_CLASSES, **sizes
    )
    if settings.pretrained and not own_name.endswith(THAWED):
        freeze_normalization(network.backbone, 0.0 if own_name in EXACT else 1e-5)
    if pretrained:
        load_whole(settings.name, network, published_values(settings.name))
    return network


def freeze_normalization(network: nn.Module, eps: float) -> None:
    """Replace every BatchNorm layer by one whose tensors are all buffers; in place."""
    frozen = library("torchvision.ops").FrozenBatchNorm2d
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, frozen(child.num_features, eps=eps))


NUM_SEGMENTATION_CLASSES = 21  # VOC's twenty, and 0 for the background
ONE_HEADED = "lraspp_"  # these have no second head


def segmenter_names() -> list[str]:
    """List the segmentation networks of torchvision, as ``torchvision/NAME``."""
    models = library("torchvision.models")
    return [TORCHVISION + name for name in models.list_models(module=models.segmentation)]


def build_segmenter(settings: NetworkSettings, *, pretrained: bool = False) -> nn.Module:
    """Build a network for segmentation; random weights come from torch's global generator.

    Args:
        settings: its name.
        pretrained: if published weights are loaded; else nothing is read or downloaded.

    Returns:
        A network from images ``[B, 3, H, W]`` to a dictionary: ``out``, logits ``[B, 21, H, W]``,
        and from most networks ``aux``, those of the second head that published weights have.

    Raises:
        UserError: the network is unknown (the nearest is suggested) or weights are unavailable.
    """
    if settings.name not in segmenter_names():
        raise unknown(settings.name, segmenter_names())
    own_name = settings.name.removeprefix(TORCHVISION)
    heads = {} if own_name.startswith(ONE_HEADED) else {"aux_loss": True}
    network = library("torchvision.models").get_model(
        own_name,
        weights=None,
        weights_backbone=None,
        num_classes=NUM_SEGMENTATION_CLASSES,
        **heads,
    )
    if pretrained:
        load_whole(settings.name, network, published_values(settings.name))
    return network
