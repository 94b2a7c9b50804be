"""ViT-mini: a vision transformer of four layers, 64 wide, without a class token.

One of the five tiny networks that the paper generates entirely (section 3.3 and Table 6): 80,714
parameters in 50 tensors for 3 channels and 10 classes. Positions are a fixed sine-cosine code and
logits come from the mean over tokens, as in Beyer, Zhai and Kolesnikov, "Better plain ViT
baselines for ImageNet-1k" (2022).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 8
GRID = 8  # patches per side of a 64x64 image
WIDTH = 64
HEADS = 4
HEAD_WIDTH = 8
DEPTH = 4


class Attention(nn.Module):
    """Pre-norm self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(HEADS * HEAD_WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``[B, T, WIDTH]`` to the residual update."""
        heads = self.qkv(self.norm(x)).unflatten(-1, (3, HEADS, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a perceptron, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.norm = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``[B, T, WIDTH]`` to tokens."""
        x = x + self.attention(x)
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class ViTMini(nn.Module):
    """Images of 64x64 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3 for color, 1 for gray images.
    """

    positions: Tensor

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        patch_width = in_channels * PATCH * PATCH
        self.patch_norm = nn.LayerNorm(patch_width)
        self.embedding = nn.Linear(patch_width, WIDTH)
        self.embedding_norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(*[Layer() for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, num_classes)
        self.register_buffer("positions", position_code(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 64, 64]`` to logits ``[B, K]``."""
        patches = F.pixel_unshuffle(images, PATCH).flatten(2).transpose(1, 2)
        x = self.embedding_norm(self.embedding(self.patch_norm(patches)))
        x = self.layers(x + self.positions)
        return self.head(self.norm(x).mean(1))


def position_code() -> Tensor:
    """Sines and cosines of each patch's row and column at 16 frequencies: ``[T, WIDTH]``."""
    frequencies = 10_000.0 ** -torch.linspace(0, 1, WIDTH // 4)
    row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (column, row)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
