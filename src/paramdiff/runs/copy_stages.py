"""Copy the stages of another run that match; bind a run's folder to its recipe.

A stage of another run matches if all fields that it and the stages before it depend on are equal.
"""

import shutil
from itertools import takewhile
from pathlib import Path
from typing import Any

from paramdiff.errors import UserError
from paramdiff.recipe.differences import first_difference
from paramdiff.recipe.schema import Recipe, to_yaml
from paramdiff.runs.folder import RunFolder, field_of
from paramdiff.runs.stage_loop import Stage
from paramdiff.runs.stages import STAGES
from paramdiff.storage import CARD_FILE, remove, sha256_of, write_text, written_aside
from paramdiff.zoo.pretrain import pretrained_file
from paramdiff.zoo.zoo import BASE_FILE

REUSABLE: tuple[Stage[Any], ...] = tuple(stage for stage in STAGES if stage.is_reusable)

PRETRAINING_FIELDS = (
    "seed",
    "task",
    "collection.pretraining",
    "collection.kind",
    "collection.independent_runs",
)
"""Recipe fields that the pretrained checkpoint depends on."""


def bind_recipe(folder: RunFolder, recipe: Recipe, *, may_change: bool = False) -> bool:
    """Make a folder this recipe's, or check that it is.

    Args:
        folder: of the run.
        recipe: of the run.
        may_change: if another recipe of the same zoo may take the folder over as long as no
            denoiser is trained and no training was begun; finished stages that it does not share
            are removed.

    Returns:
        True if the folder was new.

    Raises:
        UserError: the folder holds another recipe's run, or something else.
    """
    saved = folder.saved_recipe()
    if saved is not None:
        difference = first_difference(saved, recipe.model_dump(mode="json"))
        if difference and not (may_change and _change_recipe(folder, recipe)):
            raise UserError(f"{folder.root}: this folder belongs to another recipe: {difference}")
        return False
    folder.refuse_foreign()
    remove(folder.state)  # unfinished work of an unknown recipe
    write_text(folder.recipe_file, to_yaml(recipe))
    return True


def rollback(folder: RunFolder) -> None:
    """Undo ``bind_recipe`` unless something was finished, even a part of a stage."""
    if not any(path.is_file() for path in folder.state.rglob("*")):
        remove(folder.state)
        remove(folder.recipe_file)


def _change_recipe(folder: RunFolder, recipe: Recipe) -> bool:
    """Bind a run to another recipe; return False if it has gone too far for that."""
    shared = _shared(folder, recipe)
    unfinished = any((folder.state / f"{stage.name}.pt").exists() for stage in REUSABLE)
    if not shared or unfinished or later_stage_exists(folder, "codec"):
        return False
    for stage in REUSABLE:
        if stage not in shared:
            remove(folder.artifact(stage.artifact))
    kept = [folder.artifact(stage.artifact) for stage in shared]
    for entry in folder.pipeline.iterdir() if folder.pipeline.is_dir() else ():
        if entry not in kept:
            remove(entry)
    remove(folder.state)
    write_text(folder.recipe_file, to_yaml(recipe))
    return True


def later_stage_exists(folder: RunFolder, name: str) -> bool:
    """Return True if a reusable stage after the named one is done."""
    names = [stage.name for stage in REUSABLE]
    later = REUSABLE[names.index(name) + 1 :]
    return any(folder.artifact(stage.artifact).exists() for stage in later)


def copy_stages(folder: RunFolder, other: RunFolder, recipe: Recipe) -> list[str]:
    """Copy from another run the stages, or else the pretrained checkpoint, that match.

    Args:
        folder: of this run.
        other: of the other run.
        recipe: of this run.

    Returns:
        The stages that both runs share now, in order; none after one that was made here and
        differs.

    Raises:
        UserError: the other folder is no run.
    """
    shared: list[str] = []
    for stage in _shared(other, recipe):
        own, theirs = folder.artifact(stage.artifact), other.artifact(stage.artifact)
        if not own.exists():
            folder.log.take_over(other.log, stage.name)
            with written_aside(own) as aside:
                shutil.copytree(theirs, aside, ignore=_WITHOUT_CARD)
        elif not _is_same(own, theirs):
            break  # later stages were made from something else
        shared.append(stage.name)
    pretrained = pretrained_checkpoint(other, recipe)
    copy = pretrained_file(folder.state / "zoo", 0)
    if not folder.artifact("zoo").exists() and pretrained is not None and not copy.is_file():
        with written_aside(copy) as aside:
            shutil.copyfile(pretrained, aside)
    return shared


def shared_stages(folder: RunFolder, recipe: Recipe) -> list[str]:
    """List the finished stages of a run that a recipe can reuse.

    Args:
        folder: of the run.
        recipe: of another run.

    Returns:
        The stages whose fields are all equal, in order, up to the first that is not done.

    Raises:
        UserError: the folder is no run.
    """
    return [stage.name for stage in _shared(folder, recipe)]


def _shared(folder: RunFolder, recipe: Recipe) -> list[Stage[Any]]:
    saved = folder.saved_recipe()
    if saved is None:
        raise UserError(f"{folder.root}: this is no run's folder: it has no recipe.yaml")
    equal = equal_stages(saved, recipe.model_dump(mode="json"))
    present = [stage for stage in REUSABLE if stage.name in equal and stage.is_in(recipe)]
    return list(takewhile(lambda stage: folder.artifact(stage.artifact).exists(), present))


def pretrained_checkpoint(folder: RunFolder, recipe: Recipe) -> Path | None:
    """Find the pretrained checkpoint of a run, if a recipe's own would be the same.

    Args:
        folder: of the run.
        recipe: of another run.

    Returns:
        Its state dict: the zoo's base, which runs that branch from one checkpoint do not change.
        None if it would be another, or the run has no zoo.
    """
    if not has_equal_pretraining(folder.saved_recipe(), recipe.model_dump(mode="json")):
        return None
    path = folder.artifact("zoo") / BASE_FILE
    return path if path.is_file() else None


def equal_stages(one: Any, other: Any) -> list[str]:
    """List the first reusable stages in whose fields two recipes, as JSON, are equal."""

    def is_equal(stage: Stage[Any]) -> bool:
        return all(field_of(one, field) == field_of(other, field) for field in stage.fields)

    return [stage.name for stage in takewhile(is_equal, REUSABLE)]


def has_equal_pretraining(one: Any, other: Any) -> bool:
    """Return True if two recipes, as JSON, branch from the same pretrained checkpoint."""
    is_equal = all(field_of(one, field) == field_of(other, field) for field in PRETRAINING_FIELDS)
    return is_equal and field_of(one, "collection.pretraining") is not None


_WITHOUT_CARD = shutil.ignore_patterns(CARD_FILE)  # a card states the other run's scores


def _is_same(one: Path, other: Path) -> bool:
    """Return True if two folders hold the same files but for their cards."""

    def files(root: Path) -> dict[Path, str]:
        paths = [path for path in root.rglob("*") if path.is_file() and path.name != CARD_FILE]
        return {path.relative_to(root): sha256_of(path) for path in paths}

    return files(one) == files(other)
