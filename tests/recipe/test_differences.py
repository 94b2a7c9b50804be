"""An ablation changes exactly what it lists; everything else is its base's."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from paramdiff.errors import UserError
from paramdiff.recipe.differences import check_factors, differences, first_difference
from paramdiff.recipe.schema import load_factors, load_recipe, to_yaml


def written(folder, file, **content):
    path = folder / f"{file}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def refused(path, *overrides):
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).removeprefix(f"{path}: ")


def ablation(folder, **changes):
    content = {
        "name": "narrow",
        "description": "a narrower denoiser",
        "extends": "quickstart",
        "factors": ["generation.temperature", "diffusion.denoiser.width"],
        "generation": {"temperature": 0.5},
        "diffusion": {"denoiser": {"width": 16}},
    }
    content |= changes
    return written(
        folder, "ablation", **{key: value for key, value in content.items() if value is not None}
    )


def test_an_ablation_is_its_base_but_for_its_factors(tmp_path):
    path = ablation(tmp_path)
    base, recipe = load_recipe("quickstart"), load_recipe(path)
    found = differences(base.model_dump(mode="json"), recipe.model_dump(mode="json"))
    assert set(found) == {
        "name",
        "description",
        "generation.temperature",
        "diffusion.denoiser.width",
    }
    assert load_factors(path) == {"generation.temperature": 0.5, "diffusion.denoiser.width": 16}
    assert list(load_factors(path)) == ["generation.temperature", "diffusion.denoiser.width"]


def test_what_is_written_beside_results_extends_nothing(tmp_path):
    recipe = load_recipe(ablation(tmp_path))
    text = to_yaml(recipe)
    assert not {"extends", "factors"} & set(yaml.safe_load(text))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(text, encoding="utf-8")
    assert load_recipe(resolved) == recipe
    assert load_factors(resolved) == {}


def test_set_lies_over_an_ablation_and_is_no_factor(tmp_path):
    recipe = load_recipe(ablation(tmp_path), ["generation.temperature=1.0", "seed=3"])
    assert (recipe.generation.temperature, recipe.seed) == (1.0, 3)
    assert recipe.diffusion.denoiser.width == 16


def test_a_base_may_lie_beside_the_ablation(tmp_path, monkeypatch):
    base = written(tmp_path, "base", **yaml.safe_load(to_yaml(load_recipe("quickstart"))))
    monkeypatch.chdir("/")
    path = ablation(tmp_path, extends=base.name)
    assert load_recipe(path).generation.temperature == 0.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"factors": ["generation.temperature"]},
            "factors: 'diffusion.denoiser.width' differs from quickstart and is not listed",
        ),
        (
            {
                "factors": [
                    "generation.temperature",
                    "diffusion.denoiser.width",
                    "diffusion.denoiser.depth",
                ]
            },
            "factors: 'diffusion.denoiser.depth' does not differ from quickstart; the nearest "
            "field that does is 'diffusion.denoiser.width'",
        ),
        (
            {"factors": ["generation", "diffusion.denoiser.width"]},
            "factors: 'generation.temperature' differs from quickstart and is not listed",
        ),
        (
            {"generation": None, "diffusion": None, "factors": ["seed"]},
            "factors: 'seed' does not differ from quickstart",
        ),
        (
            {"factors": None},
            "factors: list the fields that differ from quickstart; None is no such list",
        ),
        (
            {"factors": "generation.temperature"},
            "factors: list the fields that differ from quickstart; 'generation.temperature' is no "
            "such list",
        ),
        ({"extends": None}, "factors: these belong beside extends only"),
        ({"extends": 3}, "extends: 3 is not the name of a recipe"),
    ],
)
def test_factors_that_do_not_fit_are_refused(tmp_path, changes, told):
    assert refused(ablation(tmp_path, **changes)) == told


def test_an_unknown_base_names_the_nearest(tmp_path):
    told = refused(ablation(tmp_path, extends="quikstart"))
    assert told.startswith("quikstart: no such file and no shipped recipe")
    assert told.endswith("'quickstart'")


def test_an_ablation_of_an_ablation_is_refused(tmp_path):
    first = ablation(tmp_path)
    second = written(tmp_path, "second", name="second", extends=first.name, factors=[])
    told = refused(second)
    assert told == ("extends: ablation.yaml extends quickstart itself; one level is allowed")


def test_a_part_of_another_kind_is_one_factor(tmp_path):
    path = ablation(
        tmp_path,
        diffusion=None,
        generation=None,
        collection={"kind": "folder", "checkpoints": "there"},
        factors=["collection"],
    )
    assert load_factors(path)["collection"]["kind"] == "folder"


LEAVES = st.integers(0, 3) | st.none() | st.lists(st.integers(0, 2), max_size=2)
TREES = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(LEAVES, lambda below: st.dictionaries(st.sampled_from("xyz"), below)),
)


@given(TREES, TREES)
def test_differences_are_what_must_be_assigned(one, other):
    """Assigning the differing values to the one gives the other, up to absent and null fields."""
    found = differences(one, other)
    assert (found == {}) == (first_difference(one, other) is None)
    assert differences(one, one) == {}
    for path, (there, here) in found.items():
        assert there != here
        assert look_up(one, path) == there and look_up(other, path) == here
    rebuilt = patched(one, {path: here for path, (_, here) in found.items()})
    assert differences(rebuilt, other) == {}
    assert check_factors(list(found), one, other, "base") == {
        path: here for path, (_, here) in found.items()
    }


def look_up(tree, path):
    for key in path.split("."):
        tree = tree.get(key)
    return tree


def patched(tree, changes, prefix=""):
    keys = {*tree, *(path[len(prefix) :].split(".")[0] for path in changes)}
    result = {}
    for key in keys:
        path = f"{prefix}{key}"
        below = {p: v for p, v in changes.items() if p.startswith(f"{path}.")}
        value = changes.get(path, tree.get(key))
        result[key] = patched(value or {}, below, f"{path}.") if below else value
    return result


def test_an_ablation_can_be_laid_over_another_base(tmp_path):
    path = ablation(tmp_path)
    base = written(
        tmp_path, "small", **yaml.safe_load(to_yaml(load_recipe("quickstart", ["seed=5"])))
    )
    recipe, plain = load_recipe(path, base=base), load_recipe(base)
    found = differences(plain.model_dump(mode="json"), recipe.model_dump(mode="json"))
    assert set(found) == {
        "name",
        "description",
        "generation.temperature",
        "diffusion.denoiser.width",
    }
    assert (recipe.name, recipe.seed) == ("narrow", 5)


def test_factors_on_another_base_lie_over_the_preset_that_is_set(tmp_path):
    path = written(
        tmp_path,
        "ablation",
        name="quiet",
        extends="main/cifar100_resnet18",
        factors=["codec.latent_noise"],
        codec={"latent_noise": 0.0},
    )
    recipe = load_recipe(path, ["preset=paper"], base="quickstart")
    assert recipe.task.name == "digits" and recipe.codec.latent_noise == 0.0
    assert recipe.codec.input_noise == load_recipe("main/cifar100_resnet18").codec.input_noise
    with pytest.raises(UserError, match=r"ablation\.yaml on quickstart: codec.latent_noise"):
        load_recipe(path, base="quickstart")


def test_a_recipe_without_factors_is_not_touched_by_another_base():
    plain = load_recipe("quickstart")
    assert load_recipe("quickstart", base="main/cifar100_resnet18") == plain
