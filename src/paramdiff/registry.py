"""Registries of classes by the ``kind`` of their settings; classes are imported when used.

Settings are imported without torch, so that a recipe is validated before the classes that it names
are loaded.
"""

from collections import UserDict
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from paramdiff.settings import Settings


@dataclass(frozen=True)
class Unloaded:
    """A registered class that is imported when it is used.

    Attributes:
        settings_class: the settings that configure it.
        path: its place, ``module:name``.
    """

    settings_class: type[Settings]
    path: str


class Registry(UserDict[str, Any]):
    """Classes with a ``settings_class``, by the ``kind`` of their settings."""

    def __getitem__(self, kind: str) -> Any:
        """Return a class; import it if it is not yet."""
        entry = self.data[kind]
        if isinstance(entry, Unloaded):
            entry = self.data[kind] = resolve_name(entry.path)
        return entry

    def named(self, name: str) -> Any | None:
        """Return the class of a name, and import no other; None if there is none."""
        for kind, entry in self.data.items():
            is_unloaded = isinstance(entry, Unloaded)
            own = entry.path.rpartition(":")[2] if is_unloaded else entry.__name__
            if own == name:
                return self[kind]
        return None

    @property
    def settings_classes(self) -> tuple[type[Settings], ...]:
        """The settings classes that are registered at present."""
        return tuple(one.settings_class for one in self.data.values())


@dataclass(frozen=True, eq=False)  # hashed by identity, because registries grow
class OneOfKinds:
    """Annotation of a field that holds the settings of one registered class.

    The registry is read when a value is validated, so that a kind that was registered from outside
    the package is accepted; errors are those of a discriminated union.

    Attributes:
        registry: ``kind`` to the class that such settings configure.
    """

    registry: Registry

    @property
    def classes(self) -> tuple[type[Settings], ...]:
        """The settings classes that are registered at present."""
        return self.registry.settings_classes

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
