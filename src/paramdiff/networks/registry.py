"""Networks by name; a user's network is ``module:name`` or a new key of ``NETWORKS``."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.convnext_mini import ConvNeXtMini
from paramdiff.networks.libraries import (
    TORCHVISION,
    build_from_library,
    library,
    library_names,
    unknown,
)
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.networks.small import (
    MLP,
    CNNMedium,
    ConvNetMini,
    DigitsNetwork,
    MLPMini,
    ResNetMini,
)
from paramdiff.networks.user_network import build_user_network
from paramdiff.networks.vit_mini import ViTMini


@dataclass(frozen=True)
class ImageNetwork:
    """A built-in network for images.

    Args:
        build: function of ``num_classes`` and ``in_channels``.
        size: required pixels per side, if fixed.
        smallest: minimum pixels per side.
    """

    build: Callable[..., nn.Module]
    size: int | None = None
    smallest: int = 1


NETWORKS: dict[str, ImageNetwork] = {
    "resnet20": ImageNetwork(ResNet20),
    "digits_cnn": ImageNetwork(DigitsNetwork, smallest=4),
    "convnet_mini": ImageNetwork(ConvNetMini, 64),
    "mlp_mini": ImageNetwork(MLPMini, 64),
    "resnet_mini": ImageNetwork(ResNetMini, 64),
    "vit_mini": ImageNetwork(ViTMini, 64),
    "convnext_mini": ImageNetwork(ConvNeXtMini, 64),
    "cnn_medium": ImageNetwork(CNNMedium, 32),
}


def build_network(
    settings: NetworkSettings,
    num_classes: int,
    input_shape: tuple[int, ...],
    *,
    pretrained: bool = False,
) -> nn.Module:
    """Build a network; its random weights come from torch's global generator.

    Args:
        settings: choice of the network.
        num_classes: ``K``.
        input_shape: shape of one example: ``(C, H, W)`` or ``(F,)``.
        pretrained: fetch published weights; otherwise nothing is read or fetched.

    Returns:
        A network from ``[B, *input_shape]`` to logits ``[B, K]``.

    Raises:
        UserError: the name is unknown (with the nearest), the network cannot take such inputs or
            has another number of classes, or its weights cannot be fetched.
    """
    name = settings.name
    is_library = name not in NETWORKS and name != "mlp" and ":" not in name
    if is_library and not name.startswith(TORCHVISION) and not library("timm").is_model(name):
        raise unknown(name, [*NETWORKS, "mlp", *library_names()])
    if settings.pretrained and not is_library:
        raise UserError(f"task.network.pretrained: {name!r} has no published weights")
    if is_library:
        return build_from_library(name, num_classes, input_shape, pretrained)
    if ":" in name:
        return build_user_network(name, num_classes, input_shape)
    if name == "mlp":
        if len(input_shape) != 1:
            raise UserError(f"task.network.name: 'mlp' takes vectors, found shape {input_shape}")
        return MLP(input_shape[0], num_classes)
    return _build_image_network(name, num_classes, input_shape)


def _build_image_network(name: str, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    entry = NETWORKS[name]
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
        raise UserError(
            f"task.network.name: {name!r} takes images of 1 or 3 channels, found inputs of shape "
            f"{input_shape}"
        )
    if entry.size and input_shape[1:] != (entry.size, entry.size):
        raise UserError(
            f"task.image_size: {name!r} takes images of {entry.size}x{entry.size} pixels, found "
            f"{input_shape[1]}x{input_shape[2]}"
        )
    if min(input_shape[1:]) < entry.smallest:
        raise UserError(
            f"task.image_size: {name!r} takes images of {entry.smallest}x{entry.smallest} pixels "
            f"or more, found {input_shape[1]}x{input_shape[2]}"
        )
    return entry.build(num_classes=num_classes, in_channels=input_shape[0])
