"""ConvNet-mini: three convolutions with layer normalisation over whole feature maps.

One of the five tiny networks that the paper generates entirely (section 3.3 and Table 6): 24,262
parameters for 3 channels and 10 classes, 20,992 of them in the normalisation layers.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class ConvNetMini(nn.Module):
    """Images of 64x64 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3 for colour, 1 for grey images.
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
