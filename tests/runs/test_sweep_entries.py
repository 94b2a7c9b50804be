"""Tables and figures of the paper name the recipes that they show; each runs once."""

import pytest

from paramdiff.errors import UserError
from paramdiff.paper.exhibit import load_exhibits
from paramdiff.recipe import load_factors, load_recipe
from paramdiff.runs.sweep_entries import asked_for, plan_sweep

DEFAULT = "main/cifar100_resnet18"
NOISES = ["ablation/noise_0000a00", "ablation/noise_0001a00", "ablation/noise_0000a01"]


def names(*sources, **options):
    return [entry.name for entry in plan_sweep(sources, **options)]


def test_a_table_is_planned_as_its_recipes():
    planned = plan_sweep(["table3a"])
    assert [entry.name for entry in planned] == [*NOISES, DEFAULT]
    for entry in planned:
        assert entry.recipe == load_recipe(entry.name)
    assert planned[0].changed == load_factors(NOISES[0])
    assert asked_for(["table3a", "quickstart", "figure5[ab]"]) == (
        "table3a",
        "figure5a",
        "figure5b",
    )


def test_settings_without_a_recipe_change_one_value():
    planned = {entry.name: entry for entry in plan_sweep(["table3b"])}
    assert len(planned) == 5
    changed = planned[f"{DEFAULT},input_noise=0.005"]
    assert changed.recipe == load_recipe(DEFAULT, ["codec.input_noise=0.005"])
    assert changed.changed == {"codec.input_noise": 0.005}
    assert list(planned) == names(DEFAULT, "table3b")  # the default comes first in both
    by_hand = names(DEFAULT, vary="codec.input_noise=1.0e-5,0.005")
    assert by_hand == [f"{DEFAULT},input_noise=1.0e-05", f"{DEFAULT},input_noise=0.005"]
    assert set(by_hand) <= set(planned)


def test_what_several_show_is_run_once():
    assert names("table3a", "figure5a") == [*NOISES, DEFAULT]
    assert names("figure5a", "ablation/vae_sample", "table3a") == [
        *NOISES,
        DEFAULT,
        "ablation/vae_sample",
    ]
    assert names("table3a", DEFAULT) == [*NOISES, DEFAULT]
    whole = names("table*", "figure*")
    shown = {one.key for exhibit in load_exhibits().values() for one in exhibit.settings}
    of_sizes = {one.key for one in load_exhibits()["table6"].settings}
    others = {
        one.key
        for exhibit in load_exhibits().values()
        if exhibit.needs_runs
        for one in exhibit.settings
    }
    assert len(whole) == len(set(whole)) and set(whole) == shown - (of_sizes - others)


def test_another_base_takes_the_place_of_the_default():
    base = "small/cifar10_resnet20_autoencoder"
    planned = {entry.name: entry for entry in plan_sweep(["table3a", "table3c"], base=base)}
    assert list(planned)[:4] == [*NOISES, base]
    assert f"{base},latent_noise=0.01" in planned and DEFAULT not in planned
    for entry in planned.values():
        assert entry.recipe.task.name == "cifar10_10k"
    changed = planned[f"{base},latent_noise=0.01"].recipe
    assert changed == load_recipe(base, ["codec.latent_noise=0.01"])


def test_one_ablation_can_vary_over_another_base():
    planned = plan_sweep(
        ["ablation/numberckpt_010"], (), "generation.seed=1,2", "small/cifar10_resnet20"
    )
    assert [entry.recipe.generation.seed for entry in planned] == [1, 2]
    assert {entry.recipe.task.name for entry in planned} == {"cifar10_10k"}


def test_what_needs_no_run_plans_none():
    assert plan_sweep(["table6"]) == []
    assert asked_for(["table6"]) == ("table6",)


def test_a_file_of_that_name_is_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table3a").write_text("name: mine\ntask: {name: digits}\n", encoding="utf-8")
    with pytest.raises(UserError, match="table3a: collection"):
        plan_sweep(["table3a"])
    assert asked_for(["table3a"]) == ()


@pytest.mark.parametrize(
    ("source", "told"), [("table5", "the nearest is 'table"), ("table13", "benchmarks.memory")]
)
def test_a_table_that_cannot_be_shown_is_refused(source, told):
    with pytest.raises(UserError, match=told) as caught:
        plan_sweep([source])
    assert len(str(caught.value).splitlines()) == 1
