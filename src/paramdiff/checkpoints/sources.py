"""Checkpoints from files, folders, globs and Hub repositories, grouped into runs.

The result is a set: it does not depend on the order in which checkpoints were named, expanded by
the shell or listed by the file system (``order.py``). A folder of checkpoints is a run, and so is
each subfolder of a folder without any; folders of single steps (``checkpoint-500/``) belong to the
run above.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from paramdiff.checkpoints.discovery import (
    COMPLETING,
    TRAINING_STATE,
    describe_skipped,
    discover,
    is_step_folder,
)
from paramdiff.checkpoints.foreign_formats import explain_file
from paramdiff.checkpoints.formats import StoredCheckpoint, is_checkpoint
from paramdiff.checkpoints.hub import cached_revisions, download_revisions, names_revisions
from paramdiff.checkpoints.library_folders import CHECKPOINT_SUFFIXES, WEIGHT_FILES
from paramdiff.checkpoints.optimizer_files import is_optimizer_file
from paramdiff.checkpoints.order import (
    LocatedCheckpoint,
    first_names,
    group_into_runs,
    natural_order,
)
from paramdiff.checkpoints.recorded import is_recorded_base
from paramdiff.checkpoints.training_step import named_numbers
from paramdiff.errors import UserError

Runs = list[list[StoredCheckpoint]]

LOOSE = -1
"""Rank of checkpoints that are named one by one, several of which can belong to one run."""
_STEP_FOLDER = re.compile(
    r"(?:(?:checkpoint|ckpt|(?:global_?)?step|epoch|iter|iteration|it|ep|update)s?[-_=. ]*)\d+.*",
    re.I,
)
_CONTAINERS = frozenset(
    "checkpoints checkpoint ckpts ckpt models model weights best best_model last latest final "
    "final_model".split()
)
"""Folder names that do not identify a run if each holds one checkpoint."""


@dataclass(frozen=True)
class FoundCheckpoints:
    """Checkpoints that were found in a user's sources.

    Attributes:
        runs: at least one run, each of at least one checkpoint in training order.
        notes: sentences on checkpoints that were named twice or out of order.
        skipped: descriptions of skipped files.
    """

    runs: Runs
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def listed(self) -> list[StoredCheckpoint]:
        """All checkpoints, run by run."""
        return [stored for run in self.runs for stored in run]

    @property
    def facts(self) -> dict[str, str]:
        """Skipped files as label and value, or nothing."""
        return {"Skipped": "; ".join(self.skipped)} if self.skipped else {}


@dataclass(frozen=True)
class _Place:
    """A checkpoint path that was found.

    Attributes:
        path: path of the checkpoint.
        rank: number of its source.
        folder: folder of its run, if a folder was searched.
        name: display name, if it differs from the path.
        is_named: True if the user named the path itself, not a folder or pattern.
    """

    path: Path
    rank: int
    folder: Path | None = None
    name: str | None = None
    is_named: bool = False


@dataclass
class _Named:
    """Findings in the sources.

    Attributes:
        places: checkpoint paths.
        searched: paths that were named or match a pattern.
        beside: skipped paths as folder, path in it and reason.
    """

    places: list[_Place] = field(default_factory=list)
    searched: set[Path] = field(default_factory=set)
    beside: list[tuple[Path, Path, str]] = field(default_factory=list)


def find_runs(sources: Sequence[str]) -> Runs:
    """Return the runs of ``find_checkpoints``."""
    return find_checkpoints(sources).runs


def find_checkpoints(sources: Sequence[str]) -> FoundCheckpoints:
    """Find the checkpoints in a user's sources; repeated paths and links count once.

    Args:
        sources: files, checkpoint folders (of transformers, diffusers, PEFT), folders of these,
            globs, or ``owner/name@revision,revision`` on the Hugging Face Hub.

    Returns:
        The runs, and the skipped files: training state, and whatever ``discover`` skips.

    Raises:
        UserError: a source is missing or holds no checkpoint.
    """
    named_ones = _Named()
    for number, source in enumerate(sources):
        _search(named_ones, source, number)
    places, state = _without_state(named_ones.places)
    if not places:
        raise UserError("the sources hold no checkpoints")
    kept, notes = _once(places)
    runs, uncertain = group_into_runs(_items(kept))
    given = [place.path for place in kept if place.is_named]
    order = [stored for run in runs for stored in run if stored.path in given]
    if [stored.path for stored in order] != given:
        notes.append(
            f"the checkpoints are in training order ({order[0].name} ... {order[-1].name}), not "
            "in the order given"
        )
    return FoundCheckpoints(runs, (*notes, *uncertain), (*_describe_skipped(named_ones), *state))


def _search(into: _Named, source: str, number: int) -> None:
    path = Path(source)
    if path.exists():
        _add(into, path, number, is_named=True)
    elif has_magic(source):
        matches = [one for one in glob(source) if Path(one).is_dir() or is_checkpoint(Path(one))]
        if not matches:
            raise UserError(f"{source}: no checkpoint matches the pattern")
        for one in sorted(matches, key=natural_order):
            _add(into, Path(one), LOOSE, is_named=False)
    elif names_revisions(source):
        for revision, folder in download_revisions(source):
            is_named = not re.search(r"[*?]", source)
            _add(into, folder, number, is_named=is_named, revision=revision)
    else:
        raise UserError(f"{source}: there is no such checkpoint or folder of checkpoints")


def _add(
    into: _Named, path: Path, rank: int, *, is_named: bool, revision: str | None = None
) -> None:
    """Add a checkpoint, or those of a folder with the files skipped beside them."""
    into.searched.add(path.absolute())
    if not path.is_dir():
        if not is_checkpoint(path):
            suffixes = ", ".join(CHECKPOINT_SUFFIXES)
            found_instead = explain_file(path) or "another file"
            raise UserError(f"{path}: this is no checkpoint ({suffixes}), but {found_instead}")
        into.places.append(_Place(path, LOOSE, is_named=is_named))
        return
    found = discover(path)
    into.beside += [(path, one, why) for one, why in found.skipped]
    if found.is_only(path):
        rank = LOOSE if revision is None else rank
        into.places.append(_Place(path, rank, name=revision, is_named=is_named))
        return
    for run in found.runs:
        folder = Path(os.path.commonpath([one.absolute().parent for one in run]))
        revisions = cached_revisions(folder)
        for one in run:
            name = revisions.get(one.name)
            if revision is not None:
                name = f"{revision}/{one.relative_to(path).as_posix()}"
            into.places.append(_Place(one, rank, folder, name))


def _without_state(places: list[_Place]) -> tuple[list[_Place], list[str]]:
    """Skip training state and recorders' bases that a shell's pattern matched, too."""
    loose = [place for place in places if place.rank == LOOSE and not place.path.is_dir()]
    state = [place for place in loose if is_optimizer_file(place.path.name)]
    bases = [place for place in loose if is_recorded_base(place.path)]
    kept = [place for place in places if place not in state and place not in bases]
    if not kept:
        return places, []
    notes = []
    for skipped, reason in ((state, TRAINING_STATE), (bases, COMPLETING)):
        names = ", ".join(sorted({place.path.name for place in skipped}))
        notes += [f"{names} ({reason})"] if names else []
    return kept, notes


def _describe_skipped(found: _Named) -> tuple[str, ...]:
    """Describe skipped paths that were not named themselves."""
    files = {place.path.absolute() for place in found.places if place.rank == LOOSE}
    read = files | {path.parent for path in files if path.name in WEIGHT_FILES}
    texts: list[str] = []
    for folder in dict.fromkeys(folder for folder, _, _ in found.beside):
        named_too = read | found.searched - {folder.absolute()}
        left = [
            (path, why)
            for searched, path, why in found.beside
            if searched == folder and path.absolute() not in named_too
        ]
        texts += describe_skipped(folder, left)
    return tuple(dict.fromkeys(texts))


def _once(places: Sequence[_Place]) -> tuple[list[_Place], list[str]]:
    """Keep every file once, whatever links lead to it; note the dropped links."""
    chosen: dict[Path, _Place] = {}
    links: list[str] = []
    for place in sorted(places, key=lambda place: place.path.is_symlink()):
        target = place.path.resolve()
        if target not in chosen:
            chosen[target] = place
        elif place.path.absolute() != chosen[target].path.absolute():
            links.append(f"{place.path.name} (a link to {chosen[target].path.name})")
    kept = [place for place in places if any(place is one for one in chosen.values())]
    links.sort(key=natural_order)
    return kept, [f"counts once: {first_names(links)}"] if links else []


def _items(places: Sequence[_Place]) -> list[LocatedCheckpoint]:
    """Locate each checkpoint in the folder of its run."""
    units = _units(places)
    folders = [place.folder or unit.parent for place, unit in zip(places, units, strict=True)]
    alone = Counter(folders)
    ranks = {place.folder: place.rank for place in places if place.folder is not None}
    names = _names(places, units)
    items = []
    for place, unit, within, name in zip(places, units, folders, names, strict=True):
        folder, label = within, unit.relative_to(within).as_posix()
        while folder != folder.parent and _holds_a_step(folder, label, alone[within] == 1):
            folder, label = folder.parent, f"{folder.name}/{label}"
        rank = ranks.get(folder, place.rank) if place.rank == LOOSE else place.rank
        stored = StoredCheckpoint(place.path, name)
        items.append(LocatedCheckpoint(stored, folder, place.name or label, rank))
    return items


def _units(places: Sequence[_Place]) -> list[Path]:
    """Map named weight files of library folders to the folders.

    Weights at the root of a folder of checkpoints stay files.
    """
    paths = [place.path.absolute() for place in places]
    units = [
        path.parent if path.name in WEIGHT_FILES and is_checkpoint(path.parent) else path
        for path in paths
    ]
    roots = {place.folder for place in places} | {unit.parent for unit in units}
    return [path if unit in roots else unit for path, unit in zip(paths, units, strict=True)]


def _holds_a_step(folder: Path, label: str, is_alone: bool) -> bool:
    """Check if a folder is a step of the run above it, unlike that of ``epochs50/epoch1.pt``."""
    if is_step_folder(folder.name) or _STEP_FOLDER.fullmatch(folder.name):
        numbers = named_numbers(label)
        return is_alone or (numbers.epoch is None and numbers.step is None)
    return is_alone and (folder.name.isdigit() or folder.name in _CONTAINERS)


def _names(places: Sequence[_Place], units: Sequence[Path]) -> list[str]:
    """Name each checkpoint by its file, or relative to a common folder if names repeat."""
    own = [place.name or place.path.name for place in places]
    folders = {unit.parent for unit in units}
    if len(folders) == 1 and len(set(own)) == len(own):
        return own
    paths = [place.path.absolute() for place in places]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return [
        place.name or path.relative_to(shared).as_posix()
        for place, path in zip(places, paths, strict=True)
    ]
