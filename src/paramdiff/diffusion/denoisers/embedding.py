"""What a denoiser is told beside the noisy latent: the timestep, and what is asked for.

The timestep's sinusoidal embedding and its two-layer network are the paper's (the authors'
``model/denoiser.py``); where there are conditions, a second two-layer network embeds them, and the
two are added.
"""

import math

import torch
from torch import Tensor, nn

NUM_FREQUENCIES = 128
MAX_PERIOD = 10_000.0


class TimestepEmbedding(nn.Module):
    """Integer timesteps ``[B]``, and conditions where there are any, to vectors ``[B, size]``."""

    frequencies: Tensor

    def __init__(self, size: int, num_conditions: int = 0) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * NUM_FREQUENCIES, size)
        self.activation = nn.SiLU()
        self.output = nn.Linear(size, size)
        exponent = torch.arange(NUM_FREQUENCIES) / NUM_FREQUENCIES
        frequencies = torch.exp(-math.log(MAX_PERIOD) * exponent)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.num_conditions = num_conditions
        if num_conditions:
            self.conditions = nn.Sequential(
                nn.Linear(num_conditions, size), nn.SiLU(), nn.Linear(size, size)
            )

    def forward(self, timesteps: Tensor, conditions: Tensor | None = None) -> Tensor:
        """``[cos, sin]`` of the unscaled timestep times 128 frequencies, then the two layers.

        Conditions ``[B, num_conditions]`` are encoded ones; where they are left out, nothing is
        asked for.
        """
        angles = timesteps[:, None].float() * self.frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        time = self.output(self.activation(self.hidden(waves)))
        if not self.num_conditions:
            return time
        if conditions is None:
            conditions = time.new_zeros(len(time), self.num_conditions)
        return time + self.conditions(conditions)
