"""A run's folder holds one recipe's work, and takes over only what belongs together."""

import shutil

import pytest

from paramdiff.errors import UserError
from paramdiff.recipe.schema import load_recipe, to_yaml
from paramdiff.runs.copy_stages import bind_recipe, copy_stages, rollback, shared_stages
from paramdiff.runs.folder import RunFolder
from paramdiff.storage import write_text


@pytest.fixture
def recipe(tiny):
    return load_recipe("quickstart", tiny)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_unfinished_work_of_nobody_knows_whom_is_not_gone_on_with(recipe, folder):
    write_text(folder.state / "zoo" / "pretrained_0.safetensors", "of another recipe")
    assert bind_recipe(folder, recipe)
    assert not folder.state.exists()
    write_text(folder.state / "zoo" / "pretrained_0.safetensors", "its own")
    assert not bind_recipe(folder, recipe)
    assert folder.state.exists()


def test_a_folder_is_only_given_up_while_nothing_was_made(recipe, folder):
    bind_recipe(folder, recipe)
    folder.state.mkdir()
    rollback(folder)
    assert not list(folder.root.iterdir())
    bind_recipe(folder, recipe)
    write_text(folder.state / "zoo" / "pretrained_0.safetensors", "an hour of training")
    rollback(folder)
    assert (folder.state / "zoo" / "pretrained_0.safetensors").is_file()
    assert not bind_recipe(folder, recipe)


def test_what_was_made_from_something_else_is_not_taken_over(recipe, folder, tiny_run):
    bind_recipe(folder, recipe)
    shutil.copytree(tiny_run / "zoo", folder.root / "zoo")
    shutil.copytree(tiny_run / "pipeline/parameter_space", folder.pipeline / "parameter_space")
    write_text(folder.pipeline / "parameter_space" / "README.md", "for people")
    assert len(copy_stages(folder, RunFolder(tiny_run), recipe)) > 3
    shutil.rmtree(folder.pipeline / "codec")
    write_text(folder.pipeline / "parameter_space" / "config.json", "{}")
    assert copy_stages(folder, RunFolder(tiny_run), recipe) == ["zoo"]
    assert not (folder.pipeline / "codec").exists()


def test_a_change_of_recipe_leaves_nothing_of_the_old_one(tiny, folder, tiny_run):
    old, new = (load_recipe("quickstart", [*tiny, *more]) for more in (["diffusion=null"], []))
    bind_recipe(folder, old)
    for kept in ("zoo", "pipeline/parameter_space", "pipeline/codec"):
        shutil.copytree(tiny_run / kept, folder.root / kept)
    write_text(folder.pipeline / "model_index.json", "without a denoiser")
    write_text(folder.pipeline / "scheduler" / "scheduler_config.json", "{}")
    bind_recipe(folder, new, may_change=True)
    left = {path.name for path in folder.pipeline.iterdir()}
    assert left == {"parameter_space", "codec"} and (folder.root / "zoo").is_dir()


@pytest.mark.parametrize("use", ["bind_recipe", "shared_stages", "value"])
def test_a_run_of_an_earlier_version_is_refused_in_one_line(recipe, folder, use):
    uses = {
        "bind_recipe": lambda: bind_recipe(folder, recipe),
        "shared_stages": lambda: shared_stages(folder, recipe),
        "value": lambda: folder.value("task"),
    }
    old = to_yaml(recipe).replace("temperature:", "spread:")
    write_text(folder.root / "recipe.yaml", old)
    with pytest.raises(UserError) as caught:
        uses[use]()
    assert str(caught.value) == (
        f"{folder.root / 'recipe.yaml'}: written by an earlier version of paramdiff "
        "(generation.spread: this key is now called generation.temperature), which this one does "
        "not read; generate it anew"
    )
    assert (folder.root / "recipe.yaml").read_text() == old
