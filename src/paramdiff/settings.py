"""The base of every settings class: strict, immutable pydantic models.

A recipe is a tree of them; each is defined beside the component that it configures.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

HIGHEST_SEED = 2**32 - 1
"""What every library takes."""

Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED)]


class Settings(BaseModel):
    """Settings that refuse unknown keys and cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
