"""torchvision's networks for semantic segmentation, untrained or with published weights."""

from torch import nn

from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.networks.libraries import (
    TORCHVISION,
    library,
    load_whole,
    published_values,
    unknown,
)

NUM_CLASSES = 21  # VOC's twenty, and 0 for what is none of them
ONE_HEADED = "lraspp_"  # these have no second head


def segmenter_names() -> list[str]:
    """The networks that there are, as ``torchvision/NAME``."""
    models = library("torchvision.models")
    return [TORCHVISION + name for name in models.list_models(module=models.segmentation)]


def build_segmenter(settings: NetworkSettings, *, pretrained: bool = False) -> nn.Module:
    """Build a network for segmentation; random weights come from torch's global generator.

    Args:
        settings: which.
        pretrained: whether to fetch published weights; without them nothing is read or fetched.

    Returns:
        A network from images ``[B, 3, H, W]`` to a dictionary: ``out``, logits ``[B, 21, H, W]``,
        and from most networks ``aux``, those of the second head that published weights have.

    Raises:
        UserError: there is no such network (with the nearest), or its weights cannot be had.
    """
    if settings.name not in segmenter_names():
        raise unknown(settings.name, segmenter_names())
    own_name = settings.name.removeprefix(TORCHVISION)
    heads = {} if own_name.startswith(ONE_HEADED) else {"aux_loss": True}
    network = library("torchvision.models").get_model(
        own_name, weights=None, weights_backbone=None, num_classes=NUM_CLASSES, **heads
    )
    if pretrained:
        load_whole(settings.name, network, published_values(settings.name))
    return network
