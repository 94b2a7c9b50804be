"""Registry of denoisers: the ``kind`` of a recipe's ``diffusion.denoiser`` to the class.

To add a denoiser, append an entry here (or, from outside the package, assign its class to
``DENOISERS``).
"""

from typing import Annotated

from paramdiff.diffusion.denoisers.denoiser_settings import (
    Conv1dDenoiserSettings,
    DenoiserSettings,
    MLPDenoiserSettings,
)
from paramdiff.registry import OneOfKinds, Registry, Unloaded

DENOISERS = Registry(
    {
        "mlp": Unloaded(MLPDenoiserSettings, "paramdiff.diffusion.denoisers.mlp:MLPDenoiser"),
        "conv1d": Unloaded(
            Conv1dDenoiserSettings, "paramdiff.diffusion.denoisers.conv1d:Conv1dDenoiser"
        ),
    }
)

AnyDenoiserSettings = Annotated[DenoiserSettings, OneOfKinds(DENOISERS)]
"""Settings of any registered denoiser."""
