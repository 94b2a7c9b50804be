"""Settings of the denoisers."""

from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings

CHANNELS = (64, 128, 256, 512, 256, 128, 64)
KERNEL_SIZE = 7


class DenoiserSettings(Settings):
    """Sizes of a denoiser; a subclass narrows ``kind`` to the denoiser's key in ``DENOISERS``."""

    kind: str


class MLPDenoiserSettings(DenoiserSettings):
    """A residual multilayer perceptron."""

    kind: Literal["mlp"]
    width: int | None = Field(
        128, gt=0, description="hidden width; null: max(128, 2 * the latent's size)"
    )
    depth: int = Field(3, gt=0, description="number of residual blocks")


class Conv1dDenoiserSettings(DenoiserSettings):
    """The paper's denoiser."""

    kind: Literal["conv1d"]
    channels: tuple[int, ...] = Field(CHANNELS, description="channels of all but the last layer")
    kernel_size: int = Field(KERNEL_SIZE, gt=0, description="size of every convolution; odd")
