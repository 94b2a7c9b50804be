"""The U-Net of DDPM (Ho et al. 2020) for small images, by diffusers; ``unet128`` is the paper's.

Four resolutions of widths N, 2N, 2N and 2N, two residual blocks each, attention at the second.
"""

import math
import re

from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.networks.libraries import no_weights, quiet_downloads

PUBLISHED = {"unet128": "google/ddpm-cifar10-32"}
DEEPEST = 8  # the last resolution is so many times coarser than the image
GROUPS = 32


def build_noise_predictor(
    settings: NetworkSettings, channels: int, image_size: int, *, pretrained: bool = False
) -> nn.Module:
    """Build a U-Net; its random weights come from torch's global generator.

    Args:
        settings: ``unetN``, where N is the width of the first resolution, a multiple of 8.
        channels: of the images.
        image_size: pixels per side.
        pretrained: whether to fetch published weights; without them nothing is read or fetched.

    Returns:
        A network from noisy images ``[B, C, H, W]`` and timesteps ``[B]`` to an object whose
        ``sample`` is the noise in them.

    Raises:
        UserError: the name is no U-Net's, the size does not suit it, or its weights cannot be had.
    """
    from diffusers import UNet2DModel

    match = re.fullmatch(r"unet([1-9]\d*)", settings.name)
    if match is None or (width := int(match[1])) % 8:
        raise UserError(
            "task.network.name: expected 'unetN' with a width N that is a multiple of 8, as "
            f"'unet128', found {settings.name!r}"
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
