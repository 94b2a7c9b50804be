"""The base of every settings class: strict, immutable pydantic models.

A recipe is a tree of them; each is defined beside the component that it configures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

HIGHEST_SEED = 2**32 - 1
"""What every library takes."""

Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED)]


class Settings(BaseModel):
    """Settings that refuse unknown keys and cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Configured(Protocol):
    """A class that is built from settings."""

    settings_class: type[Settings]


@dataclass(frozen=True, eq=False)  # hashed by identity, because registries grow
class OneOfKinds:
    """Annotation of a field that holds the settings of one registered class.

    The registry is read when a value is validated, so that a kind that was registered from outside
    the package is accepted; errors are those of a discriminated union.

    Attributes:
        registry: ``kind`` to the class that such settings configure.
    """

    registry: Mapping[str, type[Configured]]

    @property
    def classes(self) -> tuple[type[Settings], ...]:
        """The settings classes that are registered at present."""
        return tuple(one.settings_class for one in self.registry.values())

    def validate(self, value: Any) -> Any:
        """Return the settings that ``value["kind"]`` names; a ``ValidationError`` otherwise."""
        classes = self.classes
        return value if isinstance(value, classes) else _union(classes).validate_python(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate by the registry, and serialize whatever settings were found."""
        return core_schema.no_info_plain_validator_function(self.validate)


@lru_cache(maxsize=16)
def _union(classes: tuple[type[Settings], ...]) -> TypeAdapter:
    union: Any = reduce(or_, classes)
    return TypeAdapter(Annotated[union, Field(discriminator="kind")])
