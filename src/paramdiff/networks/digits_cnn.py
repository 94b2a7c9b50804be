"""The quickstart's network: 8x8 grey images to 10 classes in a second of training."""

from torch import Tensor, nn
from torch.nn import functional as F


class DigitsNetwork(nn.Module):
    """Three convolutions with batch normalisation and a linear layer.

    The last two normalisation layers, which the quickstart generates, come after the second
    convolution has reduced an 8x8 image to 2x2: what differs between two sets of them is cheap.

    Args:
        num_classes: ``K``.
        in_channels: 3 for colour, 1 for grey images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 4, stride=4, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(64)
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, H, W]`` to logits ``[B, K]``."""
        x = F.relu(self.norm1(self.conv1(images)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x)))
        return self.head(x.mean((2, 3)))
