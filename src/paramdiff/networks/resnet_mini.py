"""ResNet-mini: two residual blocks with a bottleneck and layer normalisation.

One of the five tiny networks that the paper generates entirely (section 3.3 and Table 6): 25,138
parameters for 3 channels and 10 classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """8 channels to 4 and back, added to what went in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, 8, H, W]`` to as many of the same size."""
        return x + F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x))))


class ResNetMini(nn.Module):
    """Images of 64x64 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3 for colour, 1 for grey images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1)
        self.norm1 = nn.LayerNorm([8, 32, 32])
        self.block1 = ResidualBlock()
        self.norm2 = nn.LayerNorm([8, 16, 16])
        self.block2 = ResidualBlock()
        self.norm3 = nn.LayerNorm([8, 8, 8])
        self.fc1 = nn.Linear(128, 16)
        self.fc2 = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 64, 64]`` to logits ``[B, K]``."""
        x = F.max_pool2d(self.norm1(F.leaky_relu(self.conv1(images))), 2)
        x = F.max_pool2d(self.norm2(self.block1(x)), 2)
        x = F.max_pool2d(self.norm3(self.block2(x)), 2)
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1))))
