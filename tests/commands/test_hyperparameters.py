"""What ``fit`` chooses by itself, and that a time budget is turned into updates only once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff import load_recipe
from paramdiff.commands import hyperparameters
from paramdiff.commands.hyperparameters import (
    FEWEST_UPDATES,
    LOOKS_IN_EVALUATIONS,
    MOST_UPDATES,
    NUM_LOOKS,
    Pace,
    affordable_updates,
    measure_pace,
)
from paramdiff.runs.copy_stages import bind_recipe
from paramdiff.runs.folder import RunFolder

from .test_fit import drifting, planned

SMALL = ["diffusion.denoiser.width=8", "generation.num_inference_steps=10"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return drifting(tmp_path_factory.mktemp("drifting") / "in")


@pytest.fixture
def paces(monkeypatch):
    """Another speed at every measurement, as on a machine that has other things to do."""
    measured = []

    def measure(*arguments):
        measured.append(arguments)
        return Pace(0.03 * len(measured), 0.001)

    monkeypatch.setattr(hyperparameters, "measure_pace", measure)
    return measured


def chosen(plan):
    diffusion = plan.recipe.diffusion
    return diffusion.training.num_steps, diffusion.early_stopping.every


def test_without_a_budget_it_is_the_default_preset_watched(checkpoints, paces):
    plan = planned(checkpoints, overrides=[])
    preset = load_recipe("quickstart").diffusion
    assert plan.recipe.codec == load_recipe("quickstart").codec
    assert plan.recipe.diffusion.training == preset.training
    assert chosen(plan) == (3000, 100)
    assert not paces
    assert "of at most 8;" in plan.facts["Codec"]
    assert "3,000 at most, of 64 latents" in plan.facts["Updates"]


def test_a_budget_is_counted_once_for_a_folder(checkpoints, paces, tmp_path):
    options = {"time_budget": 0.2, "out": tmp_path / "out", "overrides": SMALL}
    plan = planned(checkpoints, **options)
    left = 12 - 0.001 * (1000 + NUM_LOOKS * LOOKS_IN_EVALUATIONS)
    assert chosen(plan) == (int(left / 0.03), int(left / 0.03) // NUM_LOOKS)
    assert "30.0 ms each" in plan.facts["Updates"]
    assert bind_recipe(RunFolder(tmp_path / "out"), plan.recipe)
    again = planned(checkpoints, **options)
    assert len(paces) == 1
    assert again.recipe == plan.recipe == load_recipe(tmp_path / "out" / "recipe.yaml")
    assert "recipe.yaml counts them" in again.facts["Updates"]
    assert not bind_recipe(RunFolder(tmp_path / "out"), again.recipe)  # nothing is refused


def test_what_is_set_wins_and_is_kept(checkpoints, paces, tmp_path):
    options = {"time_budget": 9.0, "out": tmp_path / "out"}
    options["overrides"] = [*SMALL, "diffusion.training.num_steps=40"]
    plan = planned(checkpoints, **options)
    assert plan.recipe.diffusion.training.num_steps == 40
    assert {"Codec", "Denoiser", "Updates"} & set(plan.facts) == {"Codec"}  # the width is set, too
    bind_recipe(RunFolder(tmp_path / "out"), plan.recipe)
    assert planned(checkpoints, **options).recipe == plan.recipe


def test_nothing_is_chosen_over_another_preset(checkpoints, paces):
    plan = planned(checkpoints, overrides=["preset=paper"], time_budget=1.0)
    paper = load_recipe("quickstart", ["preset=paper"])
    assert plan.recipe.codec == paper.codec
    assert plan.recipe.diffusion.training == paper.diffusion.training
    assert not paces and not {"Codec", "Denoiser", "Updates"} & set(plan.facts)


def test_few_checkpoints_get_no_more_than_the_default(tmp_path, paces):
    plan = planned(drifting(tmp_path / "in", num=12), overrides=[], time_budget=60.0)
    assert plan.recipe.diffusion.training.num_steps == 3000
    assert "nothing is held out" in plan.facts["Updates"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(1, 1e5), st.floats(1e-4, 1), st.floats(1e-5, 1), st.integers(10, 5000))
def test_a_budget_holds_unless_it_is_too_small_to_learn_anything(
    seconds, update, one, evaluations
):
    updates = affordable_updates(seconds, Pace(update, one), evaluations, MOST_UPDATES)
    total = evaluations + NUM_LOOKS * LOOKS_IN_EVALUATIONS
    assert FEWEST_UPDATES <= updates <= MOST_UPDATES
    assert updates == FEWEST_UPDATES or updates * update + total * one <= seconds * (1 + 1e-9)
    assert updates == MOST_UPDATES or (updates + 1) * update + total * one >= seconds * (1 - 1e-9)


def test_a_wider_denoiser_is_slower():
    small, large = (
        measure_pace(size, 4, hyperparameters.resolve_device("cpu")) for size in (4, 200)
    )
    assert 0 < small.update < large.update
    assert 0 < small.evaluation
