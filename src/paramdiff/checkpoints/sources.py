"""Where checkpoints come from: files, folders, globs and Hub repositories, in the order given.

Each run is a list of checkpoints in the natural order of their names. What is named one by one is
one run; a folder of checkpoints is a run, and so is each sub-folder of a folder that has none.
"""

import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from paramdiff.checkpoints.hub import download_revisions, names_revisions
from paramdiff.checkpoints.library_folders import CHECKPOINT_SUFFIXES
from paramdiff.checkpoints.stored import StoredCheckpoint, is_checkpoint
from paramdiff.errors import UserError

Runs = list[list[StoredCheckpoint]]


def find_runs(sources: Sequence[str]) -> Runs:
    """The checkpoints that a user names.

    Args:
        sources: files, checkpoint folders (of transformers, diffusers, PEFT), folders of these,
            globs, or ``owner/name@revision,revision`` on the Hugging Face Hub.

    Returns:
        At least one run of at least one checkpoint.

    Raises:
        UserError: a source is missing or holds no checkpoint.
    """
    singles: list[StoredCheckpoint] = []
    runs: Runs = []
    for source in sources:
        for path in _paths(source):
            if is_checkpoint(path):
                singles.append(StoredCheckpoint(path, path.name))
            elif path.is_dir():
                runs += _runs_of(path)
            else:
                suffixes = ", ".join(CHECKPOINT_SUFFIXES)
                raise UserError(f"{path}: expected a checkpoint ({suffixes}), found another file")
    if not singles and not runs:
        raise UserError("expected checkpoints, found none")
    return [singles, *runs] if singles else runs


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A sorting key by which ``step2`` comes before ``step10``."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _paths(source: str) -> list[Path]:
    path = Path(source)
    if path.exists():
        return [path]
    if has_magic(source):
        found = sorted(map(Path, glob(source)), key=natural_order)
        if not found:
            raise UserError(f"{source}: expected checkpoints that fit the pattern, found none")
        return found
    if names_revisions(source):
        return download_revisions(source)
    raise UserError(f"{source}: expected a checkpoint or a folder of checkpoints, found none")


def _runs_of(folder: Path) -> Runs:
    found = _checkpoints_in(folder, "")
    if found:
        return [found]
    children = sorted((p for p in folder.iterdir() if _is_open_folder(p)), key=natural_order)
    runs = [run for child in children if (run := _checkpoints_in(child, f"{child.name}/"))]
    if not runs:
        suffixes = ", ".join(CHECKPOINT_SUFFIXES)
        raise UserError(f"{folder}: expected checkpoint files ({suffixes}), found none")
    return runs


def _checkpoints_in(folder: Path, prefix: str) -> list[StoredCheckpoint]:
    found = [p for p in folder.iterdir() if p.name[0] != "." and is_checkpoint(p)]
    ordered = sorted(found, key=natural_order)
    return [StoredCheckpoint(path, f"{prefix}{path.name}") for path in ordered]


def _is_open_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
