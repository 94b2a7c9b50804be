"""The paper's denoiser: a 1-D convolutional network with additive skips.

After the authors' ``model/denoiser.py``.
The latent ``[B, D]`` is a sequence of length D with one channel; the timestep's embedding, also of
length D, is added to the input of every convolution and broadcast over its channels.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.base import Denoiser, TimestepEmbedding
from paramdiff.diffusion.denoisers.denoiser_settings import (
    CHANNELS,
    KERNEL_SIZE,
    Conv1dDenoiserSettings,
)


class Conv1dDenoiser(Denoiser):
    """The paper's 1-D convolutional network with additive skips.

    Args:
        latent_dim: ``D``.
        channels: channels of all convolutions but the last, widening and then narrowing alike.
        kernel_size: kernel size of every convolution; odd.
        conditions: the conditions that it reads, as ``Conditions.to_json`` gives them.
    """

    settings_class = Conv1dDenoiserSettings

    @register_to_config
    def __init__(
        self,
        latent_dim: int,
        channels: Sequence[int] = CHANNELS,
        kernel_size: int = KERNEL_SIZE,
        conditions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.conditions = Conditions.from_json(conditions)
        self.embedding = TimestepEmbedding(latent_dim, self.conditions.size)
        widths = [1, *channels]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(c_in, c_out, kernel_size, padding=kernel_size // 2),
                nn.BatchNorm1d(c_out),
                nn.ELU(),
            )
            for c_in, c_out in pairwise(widths)
        )
        self.output = nn.Conv1d(channels[-1], 1, kernel_size, padding=kernel_size // 2)
        self.num_skips = len(channels) // 2

    def forward(
        self, latents: Tensor, timesteps: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
        """See ``Denoiser``."""
        time = self.embedding(timesteps, conditions)[:, None, :]
        x = latents[:, None, :]
        skips: list[Tensor] = []
        first_with_skip = len(self.layers) - self.num_skips + 1
        for index, layer in enumerate(self.layers):
            if index >= first_with_skip:
                x = x + skips.pop()
            x = layer(x + time)
            if index < self.num_skips:
                skips.append(x)
        return self.output(x + skips.pop() + time)[:, 0, :]
