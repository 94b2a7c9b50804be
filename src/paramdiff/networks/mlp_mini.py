"""MLP-mini: three linear layers on a grey image of half the size.

One of the five tiny networks that the paper generates entirely (section 3.3 and Table 6): 66,970
parameters for 10 classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F


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
