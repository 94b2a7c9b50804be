"""Where checkpoints come from: files, folders, globs and Hub repositories, in the order given.

Each run is a list of checkpoints in the natural order of their names. What is named one by one is
one run; a folder of checkpoints is a run, and so is each sub-folder of a folder that has none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from paramdiff.checkpoints.discovery import TRAINING_STATE, discover, passed_over_in_words
from paramdiff.checkpoints.hub import download_revisions, names_revisions
from paramdiff.checkpoints.library_folders import CHECKPOINT_SUFFIXES
from paramdiff.checkpoints.other_formats import explain_file
from paramdiff.checkpoints.stored import StoredCheckpoint, is_checkpoint
from paramdiff.checkpoints.training_state import is_training_state
from paramdiff.errors import UserError

Runs = list[list[StoredCheckpoint]]


@dataclass(frozen=True)
class FoundCheckpoints:
    """What a user's words name.

    Attributes:
        runs: at least one run of at least one checkpoint.
        passed_over: what lies beside them and was passed over, for people.
    """

    runs: Runs
    passed_over: tuple[str, ...]

    @property
    def facts(self) -> dict[str, str]:
        """What was passed over, as label and value; empty where nothing was."""
        return {"Passed over": "; ".join(self.passed_over)} if self.passed_over else {}


def find_checkpoints(sources: Sequence[str]) -> FoundCheckpoints:
    """The checkpoints that a user names, and what lies beside them.

    Args:
        sources: files, checkpoint folders (of transformers, diffusers, PEFT), folders of these,
            globs, or ``owner/name@revision,revision`` on the Hugging Face Hub.

    Returns:
        The runs, and what was passed over: files that trainers write beside weights, and what
        ``discover`` tells.

    Raises:
        UserError: a source is missing or holds no checkpoint.
    """
    singles: list[StoredCheckpoint] = []
    runs: Runs = []
    passed_over: list[str] = []
    for source in sources:
        for path in _paths(source):
            if path.is_dir():
                found, beside = _runs_of(path)
                passed_over += beside
                if [one.path for run in found for one in run] == [path]:
                    singles += found[0]
                else:
                    runs += found
            elif is_checkpoint(path):
                singles.append(StoredCheckpoint(path, path.name))
            else:
                _refuse(path)
    state = [one for one in singles if is_training_state(one.name) and not one.path.is_dir()]
    if state and (runs or len(state) < len(singles)):
        singles = [one for one in singles if one not in state]
        names = ", ".join(sorted({one.name for one in state}))
        passed_over.append(f"{names} ({TRAINING_STATE})")
    if not singles and not runs:
        raise UserError("expected checkpoints, found none")
    return FoundCheckpoints(
        [singles, *runs] if singles else runs, tuple(dict.fromkeys(passed_over))
    )


def find_runs(sources: Sequence[str]) -> Runs:
    """The checkpoints that a user names; see ``find_checkpoints``, which tells more."""
    return find_checkpoints(sources).runs


def _refuse(path: Path) -> None:
    suffixes = ", ".join(CHECKPOINT_SUFFIXES)
    told = explain_file(path) or "another file"
    raise UserError(f"{path}: expected a checkpoint ({suffixes}), found {told}")


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A sorting key by which ``step2`` comes before ``step10``."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _paths(source: str) -> list[Path]:
    path = Path(source)
    if path.exists():
        return [path]
    if has_magic(source):
        matches = [
            path for path in map(Path, glob(source)) if path.is_dir() or is_checkpoint(path)
        ]
        found = sorted(matches, key=natural_order)
        if not found:
            raise UserError(f"{source}: expected checkpoints that fit the pattern, found none")
        return found
    if names_revisions(source):
        return download_revisions(source)
    raise UserError(f"{source}: expected a checkpoint or a folder of checkpoints, found none")


def _runs_of(folder: Path) -> tuple[Runs, list[str]]:
    """The runs in a folder, and what else lies there."""
    found = discover(folder)
    runs = []
    for run in found.runs:
        ordered = sorted(run, key=lambda path: _natural_order_below(path, folder))
        runs.append([StoredCheckpoint(path, _name(path, folder)) for path in ordered])
    return runs, passed_over_in_words(folder, found.passed_over)


def _name(path: Path, folder: Path) -> str:
    return path.name if path == folder else path.relative_to(folder).as_posix()


def _natural_order_below(path: Path, folder: Path) -> list[tuple[list[str | int], str]]:
    return [natural_order(Path(part)) for part in path.relative_to(folder).parts]
