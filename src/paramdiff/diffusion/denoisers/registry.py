"""Registry of denoisers: the ``kind`` of a recipe's ``diffusion.denoiser`` to the class.

To add a denoiser, append its class here (or, from outside the package, assign to ``DENOISERS``).
"""

from typing import Annotated

from paramdiff.diffusion.denoisers.base import Denoiser, DenoiserSettings
from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser
from paramdiff.settings import OneOfKinds

DENOISERS: dict[str, type[Denoiser]] = {
    "mlp": MLPDenoiser,
    "conv1d": Conv1dDenoiser,
}

AnyDenoiserSettings = Annotated[DenoiserSettings, OneOfKinds(DENOISERS)]
"""Settings of any registered denoiser."""
