"""ConvNeXt-mini: the ConvNeXt of Liu et al. (2022) with 7 blocks, 16 and 32 channels wide.

One of the five tiny networks that the paper generates entirely (section 3.3 and Table 6): 74,970
parameters in 83 tensors for 3 channels and 10 classes. No drop path.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS = (1, 2, 2, 2)
WIDTHS = (16, 32, 32, 32)
EPS = 1e-6
INITIAL_SCALE = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer normalization of every pixel over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, C, H, W]`` to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A depth-wise convolution, then a perceptron over channels; scaled and added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), INITIAL_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, width, H, W]`` to the same shape."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXtMini(nn.Module):
    """Images to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3 for color, 1 for gray images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, WIDTHS[0], 4, stride=4), ChannelNorm(WIDTHS[0], eps=EPS)
        )
        stages: list[nn.Module] = []
        before = WIDTHS[0]
        for index, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
            halved = [ChannelNorm(before, eps=EPS), nn.Conv2d(before, width, 2, stride=2)]
            blocks = [Block(width) for _ in range(depth)]
            stages.append(nn.Sequential(*(halved if index else []), *blocks))
            before = width
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(before, eps=EPS)
        self.head = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, H, W]`` to logits ``[B, K]``."""
        x = self.stages(self.stem(images))
        return self.head(self.norm(x.mean((2, 3))))
