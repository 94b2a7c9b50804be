"""Base of all denoisers, and the embedding of the timestep and the conditions.

To add a denoiser, write one file with its settings and its class, and add the class to
``DENOISERS`` in ``registry.py``. Settings of the built-in ones lie apart, in
``denoiser_settings.py``, so that reading a recipe loads no torch.
"""

from abc import abstractmethod
from typing import Any, ClassVar

from diffusers.models.embeddings import Timesteps
from torch import Tensor, nn

from paramdiff.component import Component
from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.denoiser_settings import DenoiserSettings

NUM_FREQUENCIES = 128


class Denoiser(Component):
    """A network that predicts the noise in a latent, or the scheduler's other prediction type.

    The constructor takes ``latent_dim``, ``conditions`` (as ``Conditions.to_json`` gives them) and
    the fields of ``settings_class`` but ``kind``; otherwise override ``build``.
    """

    settings_class: ClassVar[type[DenoiserSettings]]
    conditions: Conditions
    output: nn.Module
    """Affine last layer; with zero parameters the denoiser predicts zero."""

    @classmethod
    def build(cls, settings: Any, latent_dim: int, conditions: Conditions) -> "Denoiser":
        """Build the untrained denoiser.

        Args:
            settings: an instance of ``settings_class``.
            latent_dim: ``D``.
            conditions: the conditions that it reads.

        Returns:
            The denoiser, with weights from torch's global generator.
        """
        sizes = settings.model_dump(exclude={"kind"})
        return cls(latent_dim=latent_dim, conditions=conditions.to_json(), **sizes)

    @abstractmethod
    def forward(
        self, latents: Tensor, timesteps: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
        """Predict the noise, or the scheduler's other prediction type.

        Args:
            latents: noisy latents ``[B, D]``.
            timesteps: timesteps ``[B]``.
            conditions: encoded conditions ``[B, C]``; None leaves all of them open.

        Returns:
            The prediction ``[B, D]``.
        """

    def zero_output(self) -> None:
        """Set the last layer to zero, so that the denoiser predicts zero."""
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)


class TimestepEmbedding(nn.Module):
    """Embed integer timesteps ``[B]``, and conditions if there are any, as vectors ``[B, size]``.

    The sinusoidal embedding and its two-layer network are the paper's (the authors'
    ``model/denoiser.py``); a second two-layer network embeds conditions, and the two are added.
    """

    def __init__(self, size: int, num_conditions: int = 0) -> None:
        super().__init__()
        self.waves = Timesteps(2 * NUM_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.hidden = nn.Linear(2 * NUM_FREQUENCIES, size)
        self.activation = nn.SiLU()
        self.output = nn.Linear(size, size)
        self.num_conditions = num_conditions
        if num_conditions:
            self.conditions = nn.Sequential(
                nn.Linear(num_conditions, size), nn.SiLU(), nn.Linear(size, size)
            )

    def forward(self, timesteps: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Embed timesteps, and encoded conditions ``[B, num_conditions]``; None is all zero."""
        time = self.output(self.activation(self.hidden(self.waves(timesteps))))
        if not self.num_conditions:
            return time
        if conditions is None:
            conditions = time.new_zeros(len(time), self.num_conditions)
        return time + self.conditions(conditions)
