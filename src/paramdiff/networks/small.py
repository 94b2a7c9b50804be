"""Small networks: perceptrons, convolutional networks and a residual network."""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32


class MLP(nn.Module):
    """Two hidden layers with layer normalization.

    Args:
        num_features: length of an example.
        num_classes: ``K``.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_features, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc3 = nn.Linear(WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors ``[B, num_features]`` to logits ``[B, K]``."""
        x = F.relu(self.norm1(self.fc1(x)))
        x = F.relu(self.norm2(self.fc2(x)))
        return self.fc3(x)


class MLPMini(nn.Module):
    """Images of 64x64 pixels to logits; the channels are averaged.

    Args:
        num_classes: ``K``.
        in_channels: any number; it changes nothing.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        del in_channels
        self.fc1 = nn.Linear(1024, 64)
        self.norm1 = nn.LayerNorm(64)
        self.fc2 = nn.Linear(64, 16)
        self.norm2 = nn.LayerNorm(16)
        self.fc3 = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 64, 64]`` to logits ``[B, K]``."""
        x = F.avg_pool2d(images, 2).mean(1).flatten(1)
        x = F.leaky_relu(self.norm1(self.fc1(x)))
        x = F.leaky_relu(self.norm2(self.fc2(x)))
        return self.fc3(x)


class CNNMedium(nn.Module):
    """Images of 32x32 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3, or 1 for gray images; the count of parameters is the same.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.num_copies = 3 // in_channels
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.conv3 = nn.Conv2d(32, 15, 3)
        self.fc1 = nn.Linear(60, 20)
        self.fc2 = nn.Linear(20, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 32, 32]`` to logits ``[B, K]``."""
        x = images.repeat(1, self.num_copies, 1, 1)
        x = F.leaky_relu(F.max_pool2d(self.conv1(x), 2))
        x = F.leaky_relu(F.max_pool2d(self.conv2(x), 2))
        x = F.leaky_relu(F.max_pool2d(self.conv3(x), 2))
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1))))


class ConvNetMini(nn.Module):
    """Images of 64x64 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3 for color, 1 for gray images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 8, 7, stride=2, padding=3)
        self.norm1 = nn.LayerNorm([8, 32, 32])
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.LayerNorm([8, 16, 16])
        self.conv3 = nn.Conv2d(8, 4, 3, padding=1)
        self.norm3 = nn.LayerNorm([4, 8, 8])
        self.fc1 = nn.Linear(64, 16)
        self.fc2 = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 64, 64]`` to logits ``[B, K]``."""
        x = F.max_pool2d(F.leaky_relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.leaky_relu(self.norm2(self.conv2(x))), 2)
        x = F.max_pool2d(F.leaky_relu(self.norm3(self.conv3(x))), 2)
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1))))


class DigitsNetwork(nn.Module):
    """Three convolutions with batch normalization and a linear layer.

    The last two normalization layers, which the quickstart generates, come after the second
    convolution has reduced an 8x8 image to 2x2, so evaluating two sets of them is cheap.

    Args:
        num_classes: ``K``.
        in_channels: 3 for color, 1 for gray images.
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


class ResidualBlock(nn.Module):
    """8 channels to 4 and back, with a skip connection."""

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
        in_channels: 3 for color, 1 for gray images.
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
