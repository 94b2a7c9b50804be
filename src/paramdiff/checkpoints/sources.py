"""Where checkpoints come from: files, folders, globs and Hub repositories, sorted into runs.

What is found is a set: in which order it was named, expanded by the shell or listed by the file
system does not matter (``order.py``). A folder of checkpoints is a run, and so is each sub-folder
of a folder that has none; folders of one step each (``checkpoint-500/``) belong to the run above.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from paramdiff.checkpoints.discovery import (
    TRAINING_STATE,
    describe_skipped,
    discover,
    is_step_folder,
)
from paramdiff.checkpoints.foreign_formats import explain_file
from paramdiff.checkpoints.formats import StoredCheckpoint, is_checkpoint
from paramdiff.checkpoints.hub import cached_revisions, download_revisions, names_revisions
from paramdiff.checkpoints.library_folders import CHECKPOINT_SUFFIXES, WEIGHT_FILES
from paramdiff.checkpoints.order import (
    LocatedCheckpoint,
    first_names,
    group_into_runs,
    natural_order,
)
from paramdiff.checkpoints.training_state import is_training_state
from paramdiff.checkpoints.training_step import named_numbers
from paramdiff.errors import UserError

Runs = list[list[StoredCheckpoint]]

LOOSE = -1
"""The rank of checkpoints that are named by themselves: several of them can be of one run."""
_STEP_FOLDER = re.compile(
    r"(?:(?:checkpoint|ckpt|(?:global_?)?step|epoch|iter|iteration|it|ep|update)s?[-_=. ]*)\d+.*",
    re.I,
)
_CONTAINERS = frozenset(
    "checkpoints checkpoint ckpts ckpt models model weights best best_model last latest final "
    "final_model".split()
)
"""Folders that say nothing of a run where one checkpoint lies in each."""


@dataclass(frozen=True)
class FoundCheckpoints:
    """What a user named.

    Attributes:
        runs: at least one, each of at least one checkpoint in training order.
        notes: what counts once, or stands in another order than named; one sentence each.
        skipped: what lies beside them and was passed over, for people.
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
        """What was passed over, as label and value; empty where nothing was."""
        return {"Passed over": "; ".join(self.skipped)} if self.skipped else {}


@dataclass(frozen=True)
class _Place:
    """A path that was found.

    Attributes:
        path: of a checkpoint.
        rank: of the source that it was found in.
        folder: of its run, where a folder was searched.
        name: where it is called otherwise than its path.
        is_named: whether the user named it by itself, not by a folder or a pattern.
    """

    path: Path
    rank: int
    folder: Path | None = None
    name: str | None = None
    is_named: bool = False


@dataclass
class _Named:
    """What the sources name.

    Attributes:
        places: of checkpoints.
        searched: paths that were named or fit a pattern.
        beside: folder, path in it and reason of what was passed over.
    """

    places: list[_Place] = field(default_factory=list)
    searched: set[Path] = field(default_factory=set)
    beside: list[tuple[Path, Path, str]] = field(default_factory=list)


def find_runs(sources: Sequence[str]) -> Runs:
    """The runs of ``find_checkpoints``."""
    return find_checkpoints(sources).runs


def find_checkpoints(sources: Sequence[str]) -> FoundCheckpoints:
    """Find the checkpoints that a user names; one that is named twice, or by a link, counts once.

    Args:
        sources: files, checkpoint folders (of transformers, diffusers, PEFT), folders of these,
            globs, or ``owner/name@revision,revision`` on the Hugging Face Hub.

    Returns:
        The runs, and what was passed over: files that trainers write beside weights, and what
        ``discover`` tells.

    Raises:
        UserError: a source is missing or holds no checkpoint.
    """
    named_ones = _Named()
    for number, source in enumerate(sources):
        _search(named_ones, source, number)
    places, state = _without_state(named_ones.places)
    if not places:
        raise UserError("expected checkpoints, found none")
    kept, notes = _once(places)
    runs, uncertain = group_into_runs(_items(kept))
    given = [place.path for place in kept if place.is_named]
    order = [stored for run in runs for stored in run if stored.path in given]
    if [stored.path for stored in order] != given:
        notes.append(
            f"the checkpoints stand in training order ({order[0].name} ... {order[-1].name}), not "
            "in the order given"
        )
    return FoundCheckpoints(runs, (*notes, *uncertain), (*_passed_over(named_ones), *state))


def _search(into: _Named, source: str, number: int) -> None:
    path = Path(source)
    if path.exists():
        _add(into, path, number, is_named=True)
    elif has_magic(source):
        matches = [one for one in glob(source) if Path(one).is_dir() or is_checkpoint(Path(one))]
        if not matches:
            raise UserError(f"{source}: expected checkpoints that fit the pattern, found none")
        for one in sorted(matches, key=natural_order):
            _add(into, Path(one), LOOSE, is_named=False)
    elif names_revisions(source):
        for revision, folder in download_revisions(source):
            is_named = not re.search(r"[*?]", source)
            _add(into, folder, number, is_named=is_named, revision=revision)
    else:
        raise UserError(f"{source}: expected a checkpoint or a folder of checkpoints, found none")


def _add(
    into: _Named, path: Path, rank: int, *, is_named: bool, revision: str | None = None
) -> None:
    """Add a checkpoint, or those of a folder and what lies beside them."""
    into.searched.add(path.absolute())
    if not path.is_dir():
        if not is_checkpoint(path):
            suffixes = ", ".join(CHECKPOINT_SUFFIXES)
            told = explain_file(path) or "another file"
            raise UserError(f"{path}: expected a checkpoint ({suffixes}), found {told}")
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
    """Pass over what trainers write beside weights, where a shell's pattern names it, too."""
    state = [
        place
        for place in places
        if place.rank == LOOSE and is_training_state(place.path.name) and not place.path.is_dir()
    ]
    if not state or len(state) == len(places):
        return places, []
    names = ", ".join(sorted({place.path.name for place in state}))
    return [one for one in places if one not in state], [f"{names} ({TRAINING_STATE})"]


def _passed_over(found: _Named) -> tuple[str, ...]:
    """What folders hold beside checkpoints, and is not named by itself."""
    files = {place.path.absolute() for place in found.places if place.rank == LOOSE}
    read = files | {path.parent for path in files if path.name in WEIGHT_FILES}
    told: list[str] = []
    for folder in dict.fromkeys(folder for folder, _, _ in found.beside):
        named_too = read | found.searched - {folder.absolute()}
        left = [
            (path, why)
            for searched, path, why in found.beside
            if searched == folder and path.absolute() not in named_too
        ]
        told += describe_skipped(folder, left)
    return tuple(dict.fromkeys(told))


def _once(places: Sequence[_Place]) -> tuple[list[_Place], list[str]]:
    """Every file once, whatever the links to it; and what was passed over."""
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
    """Each checkpoint with the folder of its run and its label there."""
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
    """What is a checkpoint: the folder of a library, where its weight file is named.

    The weights at the root of a folder of checkpoints are one of these.
    """
    paths = [place.path.absolute() for place in places]
    units = [
        path.parent if path.name in WEIGHT_FILES and is_checkpoint(path.parent) else path
        for path in paths
    ]
    roots = {place.folder for place in places} | {unit.parent for unit in units}
    return [path if unit in roots else unit for path, unit in zip(paths, units, strict=True)]


def _holds_a_step(folder: Path, label: str, is_alone: bool) -> bool:
    """Whether a folder is a step of the run above it; one of ``epochs50/epoch1.pt`` is none."""
    if is_step_folder(folder.name) or _STEP_FOLDER.fullmatch(folder.name):
        numbers = named_numbers(label)
        return is_alone or (numbers.epoch is None and numbers.step is None)
    return is_alone and (folder.name.isdigit() or folder.name in _CONTAINERS)


def _names(places: Sequence[_Place], units: Sequence[Path]) -> list[str]:
    """How each is called: by its own name, below a common folder where names alone do not tell."""
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
