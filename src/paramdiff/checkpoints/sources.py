"""Where checkpoints come from: files, folders, globs and Hub repositories, sorted into runs.

What is found is a set: in which order it was named, expanded by the shell or listed by the file
system does not matter (``order.py``). A folder of checkpoints is a run, and so is each sub-folder
of a folder that has none; folders of one step each (``checkpoint-500/``) belong to the run above.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from paramdiff.checkpoints.files import CHECKPOINT_SUFFIXES
from paramdiff.checkpoints.hub import cached_revisions, download_revisions, names_revisions
from paramdiff.checkpoints.order import Item, in_runs, named, natural_order
from paramdiff.checkpoints.stored import WEIGHT_FILES, StoredCheckpoint, is_checkpoint
from paramdiff.errors import UserError

Runs = list[list[StoredCheckpoint]]

MAX_DEPTH = 3
"""Lightning's ``lightning_logs/version_0/checkpoints/`` lies so deep."""
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
        notes: what was passed over, or stands in another order than named; one sentence each.
    """

    runs: Runs
    notes: tuple[str, ...]

    @property
    def listed(self) -> list[StoredCheckpoint]:
        """All checkpoints, run by run."""
        return [stored for run in self.runs for stored in run]


@dataclass(frozen=True)
class _Place:
    """A path that was found.

    Attributes:
        path: of a checkpoint.
        rank: of the source that it was found in.
        name: where it is called otherwise than its path.
        is_named: whether the user named it by itself, not by a folder or a pattern.
    """

    path: Path
    rank: int
    name: str | None = None
    is_named: bool = False


def find_runs(sources: Sequence[str]) -> Runs:
    """The runs of ``find_checkpoints``."""
    return find_checkpoints(sources).runs


def find_checkpoints(sources: Sequence[str]) -> FoundCheckpoints:
    """Find the checkpoints that a user names; one that is named twice, or by a link, counts once.

    Args:
        sources: files, checkpoint folders (of transformers, diffusers, PEFT), folders of these,
            globs, or ``owner/name@revision,revision`` on the Hugging Face Hub.

    Returns:
        The runs.

    Raises:
        UserError: a source is missing or holds no checkpoint.
    """
    places = [one for number, source in enumerate(sources) for one in _places(source, number)]
    if not places:
        raise UserError("expected checkpoints, found none")
    kept, notes = _once(places)
    runs, uncertain = in_runs(_items(kept))
    given = [place.path for place in kept if place.is_named]
    order = [stored for run in runs for stored in run if stored.path in given]
    if [stored.path for stored in order] != given:
        notes.append(
            f"the checkpoints stand in training order ({order[0].name} ... {order[-1].name}), not "
            "in the order given"
        )
    return FoundCheckpoints(runs, (*notes, *uncertain))


def _places(source: str, number: int) -> Iterator[_Place]:
    path = Path(source)
    if path.exists():
        yield from _at(path, number, is_named=True)
    elif has_magic(source):
        found = glob(source)
        if not found:
            raise UserError(f"{source}: expected checkpoints that fit the pattern, found none")
        for one in sorted(found, key=natural_order):
            yield from _at(Path(one), LOOSE, is_named=False)
    elif names_revisions(source):
        for revision, folder in download_revisions(source):
            yield _Place(folder, number, revision, not re.search(r"[*?]", source))
    else:
        raise UserError(f"{source}: expected a checkpoint or a folder of checkpoints, found none")


def _at(path: Path, rank: int, *, is_named: bool) -> Iterator[_Place]:
    if is_checkpoint(path):
        yield _Place(path, LOOSE, is_named=is_named)
    elif path.is_dir():
        found = list(_inside(path, rank, MAX_DEPTH))
        if not found:
            suffixes = ", ".join(CHECKPOINT_SUFFIXES)
            raise UserError(f"{path}: expected checkpoint files ({suffixes}), found none")
        yield from found
    else:
        suffixes = ", ".join(CHECKPOINT_SUFFIXES)
        raise UserError(f"{path}: expected a checkpoint ({suffixes}), found another file")


def _inside(folder: Path, rank: int, depth: int) -> Iterator[_Place]:
    """The checkpoints of a folder, or of its sub-folders where it has none of its own."""
    inside = [path for path in folder.iterdir() if path.name[0] != "."]
    own = [path for path in inside if is_checkpoint(path)]
    revisions = cached_revisions(folder)
    for path in own:
        yield _Place(path, rank, revisions.get(path.name))
    if not own and depth:
        for path in inside:
            if path.is_dir():
                yield from _inside(path, rank, depth - 1)


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
    return kept, [f"counts once: {named(links)}"] if links else []


def _items(places: Sequence[_Place]) -> list[Item]:
    """Each checkpoint with the folder of its run and its label there."""
    units = [_unit(place) for place in places]
    alone = Counter(unit.parent for unit in units)
    names = _names(places, units)
    items = []
    for place, unit, name in zip(places, units, names, strict=True):
        folder, label = unit.parent, unit.name
        while folder != folder.parent and _holds_a_step(folder, alone[unit.parent] == 1):
            folder, label = folder.parent, f"{folder.name}/{label}"
        if place.name is not None:
            label = place.name
        items.append(Item(StoredCheckpoint(place.path, name), folder, label, place.rank))
    return items


def _unit(place: _Place) -> Path:
    """What is a checkpoint: the folder of a library, where its weight file is named."""
    path = place.path.absolute()
    if path.name in WEIGHT_FILES and is_checkpoint(path.parent):
        return path.parent
    return path


def _holds_a_step(folder: Path, is_alone: bool) -> bool:
    if _STEP_FOLDER.fullmatch(folder.name):
        return True
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
