"""Settings of the parameter space."""

from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings

NormalizationMode = Literal["tensor", "centered", "coordinate"]


class ParameterSettings(Settings):
    """Which parameters are generated, and how they are normalized."""

    select: tuple[str, ...] = Field(
        min_length=1, description="globs of tensor names, or regular expressions after 're:'"
    )
    normalization: NormalizationMode = Field(
        "tensor",
        description="one location and scale per tensor (the paper), one scale per tensor about "
        "each coordinate's own mean (centered), or both per coordinate",
    )
    align: bool = Field(
        False,
        description="bring networks of independent runs into common coordinates first: their "
        "units trade places so that they lie near each other; needs every tensor selected",
    )
    num_checkpoints: int | None = Field(
        None, gt=0, description="learn from the zoo's first so many originals; none is all of them"
    )
