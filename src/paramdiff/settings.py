"""The base of every settings class: strict, immutable pydantic models.

A recipe is a tree of them; each is defined beside the component that it configures.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings that refuse unknown keys and cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
