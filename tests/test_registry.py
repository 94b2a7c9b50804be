"""A registry imports a class when it is used, and knows its settings before."""

from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from paramdiff.registry import OneOfKinds, Registry, Unloaded
from paramdiff.settings import Settings


class FirstSettings(Settings):
    kind: Literal["first"]
    size: int = 1


class SecondSettings(Settings):
    kind: Literal["second"]


class First:
    settings_class = FirstSettings


class Second:
    settings_class = SecondSettings


@pytest.fixture
def registry():
    return Registry({"first": Unloaded(FirstSettings, f"{__name__}:First")})


def test_a_class_is_imported_when_it_is_used(registry):
    assert registry.settings_classes == (FirstSettings,)
    assert isinstance(registry.data["first"], Unloaded)
    assert registry["first"] is First is registry.data["first"]
    assert registry.settings_classes == (FirstSettings,)


def test_a_name_imports_its_own_class_only(registry):
    registry["second"] = Unloaded(SecondSettings, "nowhere:Second")
    assert registry.named("First") is First
    assert registry.named("Third") is None
    with pytest.raises(ModuleNotFoundError):
        registry.named("Second")


def test_a_field_takes_what_is_registered_later(registry):
    class Part(Settings):
        one: Annotated[Settings, OneOfKinds(registry)]

    assert Part(one={"kind": "first", "size": 3}).one == FirstSettings(kind="first", size=3)
    with pytest.raises(ValidationError, match="second"):
        Part(one={"kind": "second"})
    registry["second"] = Second
    assert Part(one={"kind": "second"}).one == SecondSettings(kind="second")
    assert isinstance(registry.data["first"], Unloaded)  # no class was needed
