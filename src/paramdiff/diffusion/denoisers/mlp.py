"""A denoiser for latents without neighborhood, such as principal components: a residual MLP.

Convolving over principal components would tie coordinates that have nothing to do with each other.
This one mixes all of them in every layer and is some hundred times cheaper on a CPU.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from paramdiff.component import Component
from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.embedding import TimestepEmbedding


class MLPDenoiser(Component):
    """Predicts the noise in a latent, or what else the scheduler's target is.

    Args:
        latent_dim: ``D``.
        width: of the hidden layers.
        depth: the number of residual blocks.
        conditions: what it can be asked for, as ``Conditions.to_json`` gives them.
    """

    @register_to_config
    def __init__(
        self,
        latent_dim: int,
        width: int = 128,
        depth: int = 3,
        conditions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.conditions = Conditions.from_json(conditions)
        self.embedding = TimestepEmbedding(width, self.conditions.size)
        self.input = nn.Linear(latent_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
            for _ in range(depth)
        )
        self.output = nn.Linear(width, latent_dim)

    def forward(
        self, latents: Tensor, timesteps: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
        """Predict the scheduler's target.

        Args:
            latents: noisy ones, ``[B, D]``.
            timesteps: ``[B]``.
            conditions: encoded, ``[B, C]``; see ``TimestepEmbedding``.

        Returns:
            The prediction ``[B, D]``.
        """
        time = self.embedding(timesteps, conditions)
        x = self.input(latents)
        for block in self.blocks:
            x = x + block(x + time)
        return self.output(x)
