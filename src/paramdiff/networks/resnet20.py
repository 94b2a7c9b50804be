"""ResNet-20 for small images: three stages of three basic blocks, 16, 32 and 64 channels wide.

The CIFAR network of He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016),
section 4.2. Shortcuts have no parameters (their option A): where the width doubles, every second
pixel is kept and the new channels are zero. Modules have torchvision's names.
"""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)
BLOCKS_PER_STAGE = 3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, in_channels, H, W]`` to ``[B, channels, H / stride, W / stride]``."""
        shortcut = x
        if self.new_channels:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)

    @property
    def padding(self) -> tuple[int, ...]:
        """Padding with half of the new channels on either side."""
        before = self.new_channels // 2
        return (0, 0, 0, 0, before, self.new_channels - before)


class ResNet20(nn.Module):
    """Images to logits; 269,722 parameters for 3 channels and 10 classes.

    Args:
        num_classes: ``K``.
        in_channels: 3 for color, 1 for gray images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], stride=1)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], stride=2)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[B, in_channels, H, W]`` to logits ``[B, K]``."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Blocks of one width; the first of them changes resolution and width."""
    first = BasicBlock(in_channels, channels, stride)
    rest = [BasicBlock(channels, channels, 1) for _ in range(BLOCKS_PER_STAGE - 1)]
    return nn.Sequential(first, *rest)
