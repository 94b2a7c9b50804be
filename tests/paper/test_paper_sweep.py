"""Tables and figures of the paper name the recipes that they show; each runs once."""

import json

import pytest

from paramdiff.errors import UserError
from paramdiff.paper.paper_sweep import PAPER
from paramdiff.paper.published import PUBLISHED, published_for
from paramdiff.paper.table_schema import load_paper_tables
from paramdiff.recipe.loading import shipped_recipes
from paramdiff.recipe.schema import load_factors, load_recipe
from paramdiff.report.sweep_page import render_sweep
from paramdiff.report.sweep_schema import PageParts, Sweep, SweepRow
from paramdiff.runs.sweep_entries import plan_sweep, requested_sections

DEFAULT = "main/cifar100_resnet18"
NOISES = ["ablation/noise_0000a00", "ablation/noise_0001a00", "ablation/noise_0000a01"]


def names(*sources, **options):
    return [entry.name for entry in plan_sweep(sources, extension=PAPER, **options)]


def test_a_table_is_planned_as_its_recipes():
    planned = plan_sweep(["table3a"], extension=PAPER)
    assert [entry.name for entry in planned] == [*NOISES, DEFAULT]
    for entry in planned:
        assert entry.recipe == load_recipe(entry.name)
    assert planned[0].changed == load_factors(NOISES[0])
    assert requested_sections(["table3a", "quickstart", "figure5[ab]"], PAPER) == (
        "table3a",
        "figure5a",
        "figure5b",
    )


def test_settings_without_a_recipe_change_one_value():
    planned = {entry.name: entry for entry in plan_sweep(["table3b"], extension=PAPER)}
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
    shown = {one.key for table in load_paper_tables().values() for one in table.settings}
    of_sizes = {one.key for one in load_paper_tables()["table6"].settings}
    others = {
        one.key
        for paper_table in load_paper_tables().values()
        if paper_table.needs_runs
        for one in paper_table.settings
    }
    assert len(whole) == len(set(whole)) and set(whole) == shown - (of_sizes - others)


def test_another_base_takes_the_place_of_the_default():
    base = "small/cifar10_resnet20_autoencoder"
    planned = {
        entry.name: entry
        for entry in plan_sweep(["table3a", "table3c"], base=base, extension=PAPER)
    }
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
    assert plan_sweep(["table6"], extension=PAPER) == []
    assert requested_sections(["table6"], PAPER) == ("table6",)


def test_a_file_of_that_name_is_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table3a").write_text("name: mine\ntask: {name: digits}\n", encoding="utf-8")
    with pytest.raises(UserError, match="table3a: collection"):
        plan_sweep(["table3a"], extension=PAPER)
    assert requested_sections(["table3a"], PAPER) == ()


@pytest.mark.parametrize(
    ("source", "told"), [("table5", "the nearest is 'table"), ("table13", "benchmarks.memory")]
)
def test_a_table_that_cannot_be_shown_is_refused(source, told):
    with pytest.raises(UserError, match=told) as caught:
        plan_sweep([source], extension=PAPER)
    assert len(str(caught.value).splitlines()) == 1


def test_published_numbers_are_those_of_the_paper_and_its_logs():
    name = "main/cifar100_resnet18"
    published = published_for(name, load_recipe(name))
    assert (published.original_best, published.ensemble) == (0.774, 0.777)
    assert (published.generated_best, published.generated_mean) == (0.779, 0.777)
    assert published.minus_original == pytest.approx(0.7724 - 0.7672)
    assert published.deviations == ()
    vae = published_for("ablation/vae_sample", load_recipe("ablation/vae_sample"))
    assert (vae.where, vae.original_mean, vae.generated_mean) == ("Table 8", 0.769, 0.766)
    mnist = published_for("full/mnist_cnnmedium", load_recipe("full/mnist_cnnmedium"))
    assert mnist.minus_original == pytest.approx(0.933 - 0.921)
    assert published_for("quickstart", load_recipe("quickstart")) is None
    known = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    unknown = {n for n in shipped_recipes() if n.startswith(("main/", "full/", "ablation/"))}
    unknown -= set(known)
    assert {name.partition(",")[0] for name in known} <= set(shipped_recipes())
    assert len(unknown) == 7 and "ablation/numberckpt_001" in unknown
    assert sum(name.startswith("main/cifar10_") for name in unknown) == 6


def test_what_was_not_run_as_published_is_said():
    name = "ablation/numberckpt_050"
    recipe = load_recipe(name, ["task.root=/data", "seed=4", "task.name=cifar10"])
    published = published_for(name, recipe)
    assert published.deviations == ("task.name",)
    row = SweepRow(
        name=name,
        description="",
        changed={},
        result=None,
        failure="it failed",
        published=published.model_dump(mode="json"),
    )
    sweep = Sweep(rows=(row,))
    page = render_sweep(sweep, PAPER.page_parts(sweep, None))
    assert f"Not run as published: {name}. Deviations: task.name." in page
    assert "Published" not in render_sweep(sweep, PageParts())
