"""Settings of the parameter space."""

from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings

NormalizationMode = Literal["tensor", "centered", "coordinate"]


class ParameterSettings(Settings):
    """Selection and normalization of the generated parameters."""

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
        description="align networks of independent runs first by permuting their channels (git "
        "re-basin); requires every tensor to be selected",
    )
    num_checkpoints: int | None = Field(
        None, gt=0, description="train on the first originals of the zoo; null: on all"
    )
