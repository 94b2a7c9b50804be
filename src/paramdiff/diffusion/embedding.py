"""The sinusoidal embedding of the timestep and its two-layer network (method.md 2.5)."""

import math

import torch
from torch import Tensor, nn

NUM_FREQUENCIES = 128
MAX_PERIOD = 10_000.0


class TimestepEmbedding(nn.Module):
    """Integer timesteps ``[B]`` to vectors ``[B, size]``."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * NUM_FREQUENCIES, size)
        self.activation = nn.SiLU()
        self.output = nn.Linear(size, size)
        exponent = torch.arange(NUM_FREQUENCIES) / NUM_FREQUENCIES
        frequencies = torch.exp(-math.log(MAX_PERIOD) * exponent)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, timesteps: Tensor) -> Tensor:
        """``[cos, sin]`` of the unscaled timestep times 128 frequencies, then the two layers."""
        angles = timesteps[:, None].float() * self.frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.output(self.activation(self.hidden(waves)))
