"""Recipes of earlier versions are refused by an error that names what each name became."""

import pytest

from paramdiff.errors import UserError
from paramdiff.recipe.error_messages import RENAMED_KEYS, RENAMED_VALUES, _paths
from paramdiff.recipe.schema import Recipe, load_recipe


@pytest.mark.parametrize("old", RENAMED_KEYS)
def test_an_old_key_names_its_new_one(old):
    with pytest.raises(UserError) as caught:
        load_recipe("quickstart", [f"{old}=1"])
    assert str(caught.value) == f"quickstart: {old}: this key is now called {RENAMED_KEYS[old]}"


@pytest.mark.parametrize(
    ("path", "old"), [(path, old) for path, values in RENAMED_VALUES.items() for old in values]
)
def test_an_old_value_names_its_new_one(path, old):
    with pytest.raises(UserError) as caught:
        load_recipe("quickstart", [f"{path}={old}"])
    new = RENAMED_VALUES[path][old]
    assert str(caught.value) == f"quickstart: {path}: {old!r} is now called {new!r}"


def test_a_key_and_its_value_are_named_together():
    with pytest.raises(UserError, match="prediction_type, and its value 'velocity' is called 'v_"):
        load_recipe("quickstart", ["diffusion.schedule.target=velocity"])


def test_an_old_name_in_a_list_is_found():
    with pytest.raises(UserError, match="conditions: 'accuracy' is now called 'score'"):
        load_recipe("quickstart", ["diffusion.conditions=[step, accuracy]"])


def test_the_new_names_are_fields_and_the_old_ones_are_none():
    paths = set(_paths(Recipe))
    assert paths.issuperset(RENAMED_KEYS.values()) and paths.issuperset(RENAMED_VALUES)
    assert paths.isdisjoint(RENAMED_KEYS)


@pytest.mark.parametrize("old", RENAMED_KEYS)
def test_a_factor_by_its_old_name_is_told_its_new_one(tmp_path, old):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nextends: quickstart\nfactors: [{old}]\ndescription: one\n")
    with pytest.raises(UserError, match=f"factors: '{old}' is now called '{RENAMED_KEYS[old]}'"):
        load_recipe(path)
