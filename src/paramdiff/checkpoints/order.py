"""Checkpoints grouped into training runs, each in training order.

The order of arguments, of the shell and of the file system is irrelevant. A run is a folder, or a
set of names within one (``seed0_epoch3.pt``). Within a run, checkpoints are sorted by steps and
epochs in their names, then by other numbers there, then by their content.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.training_step import (
    NamedNumbers,
    Scale,
    named_numbers,
    stored_number,
)

MAX_NAMED = 3
FIRST_WORDS = frozenset("init initial untrained start pretrained".split())
"""Words in the names of untrained checkpoints."""

Key = tuple[float, ...]


@dataclass(frozen=True)
class LocatedCheckpoint:
    """A checkpoint and its location within a run.

    Attributes:
        stored: the checkpoint.
        folder: folder of the run.
        label: path below that folder.
        rank: number of the user's source, which separates runs.
    """

    stored: StoredCheckpoint
    folder: Path
    label: str
    rank: int = 0

    @property
    def numbers(self) -> NamedNumbers:
        """Numbers in its label."""
        return named_numbers(self.label)


def natural_order(text: str) -> tuple[list[str | float], str]:
    """Make a sort key with ``step2`` before ``step10`` and ``0.95`` after ``0.905``."""
    parts = re.split(r"(\d+\.\d+(?!\.?\d)|\d+)", text)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)], text


def group_into_runs(
    items: Sequence[LocatedCheckpoint],
) -> tuple[list[list[StoredCheckpoint]], tuple[str, ...]]:
    """Group checkpoints into runs, each in training order.

    Args:
        items: located checkpoints in any order.

    Returns:
        The runs in the natural order of their folders and names, and a sentence on each run of
        uncertain order.
    """
    folders: dict[tuple[int, Path], list[LocatedCheckpoint]] = defaultdict(list)
    for item in items:
        folders[item.rank, item.folder].append(item)
    runs, notes = [], []
    for _, together in sorted(
        folders.items(), key=lambda pair: (pair[0][0], natural_order(str(pair[0][1])))
    ):
        for run in _split(together):
            ordered, note = _in_training_order(run)
            runs.append([item.stored for item in ordered])
            if note:
                notes.append(note)
    return runs, tuple(notes)


def _split(items: list[LocatedCheckpoint]) -> list[list[LocatedCheckpoint]]:
    """Split a folder's checkpoints into runs by their names."""
    by_word = _grouped(items, [str(item.numbers.runs) for item in items])
    if len(by_word) > 1:
        return by_word
    positions = [(item.numbers.epoch, item.numbers.step) for item in items]
    rests = [item.numbers.rest for item in items]
    settings = [f"{item.numbers.rest} {item.numbers.fractions}" for item in items]
    for labels in (rests, settings):
        groups = _grouped(items, labels)
        if _are_runs(groups, positions, labels):
            return groups
    return [items]


def _grouped(items: list[LocatedCheckpoint], labels: list[str]) -> list[list[LocatedCheckpoint]]:
    groups: dict[str, list[LocatedCheckpoint]] = defaultdict(list)
    for item, label in zip(items, labels, strict=True):
        groups[label].append(item)
    return [groups[label] for label in sorted(groups, key=natural_order)]


def _are_runs(
    groups: list[list[LocatedCheckpoint]],
    positions: list[tuple[float | None, float | None]],
    labels: list[str],
) -> bool:
    """Check if differences in names beside the step separate runs.

    Each run then has several checkpoints without repeated steps, and runs share steps.
    """
    if len(groups) < 2 or min(map(len, groups)) < 2 or (None, None) in positions:
        return False
    pairs = list(zip(labels, positions, strict=True))
    return len(set(pairs)) == len(pairs) and len(set(positions)) <= len(positions) // 2 + 1


def _in_training_order(
    items: list[LocatedCheckpoint],
) -> tuple[list[LocatedCheckpoint], str | None]:
    """Sort one run; return it with a note if its order is uncertain."""
    keys, scale = _by_name(items)
    if len(items) < 2:
        return [_with_step(items[0], keys[0], scale)], None
    lost = [row for row, key in enumerate(keys) if key is None]
    if lost:
        keys, scale = _completed(items, keys, scale)
        lost = [row for row, key in enumerate(keys) if key is None]
    places = [
        (_place(item, key), *natural_order(item.label))
        for item, key in zip(items, keys, strict=True)
    ]
    order = sorted(range(len(items)), key=lambda row: places[row])
    ordered = [_with_step(items[row], keys[row], scale) for row in order]
    return ordered, _note([items[row] for row in order if row in set(lost)], len(items))


def _place(item: LocatedCheckpoint, key: Key | None) -> tuple[int, Key, bool]:
    if key is not None:
        return 1, key, not any(char.isdigit() for char in item.label)
    words = set(re.split(r"[^a-z]+", item.label.lower()))
    return (0 if words & FIRST_WORDS else 2), (), False


def _by_name(items: list[LocatedCheckpoint]) -> tuple[list[Key | None], Scale | None]:
    """Return sort keys from the names, and their scale, which is None for bare numbers."""
    numbers = [item.numbers for item in items]
    num_epochs = sum(one.epoch is not None for one in numbers)
    num_steps = sum(one.step is not None for one in numbers)
    if num_epochs and num_epochs >= num_steps:
        return [
            None if one.epoch is None else (one.epoch, -1.0 if one.step is None else one.step)
            for one in numbers
        ], "epoch"
    if num_steps:
        return [None if one.step is None else (one.step,) for one in numbers], "step"
    numbered = {one.template for one in numbers if one.plain}
    if len(numbered) == 1:
        template = next(iter(numbered))
        return [
            tuple(map(float, one.plain)) if one.template == template else None for one in numbers
        ], None
    return [None] * len(items), None


def _completed(
    items: list[LocatedCheckpoint], keys: list[Key | None], scale: Scale | None
) -> tuple[list[Key | None], Scale | None]:
    """Complete missing sort keys from the content of the checkpoints."""
    if scale is None:
        scales: tuple[Scale, ...] = ("step", "epoch")
        for one in scales:  # if all contents have it, names are not needed
            numbers = [stored_number(item.stored.path, one) for item in items]
            known = [number for number in numbers if number is not None]
            if len(known) == len(items) and (len(set(known)) > 1 or not any(keys)):
                return [(number,) for number in known], one
        return keys, None
    offset = _offset(items, keys, scale)
    found: list[Key | None] = []
    for item, key in zip(items, keys, strict=True):
        number = stored_number(item.stored.path, scale) if key is None else None
        if number is not None:
            step = stored_number(item.stored.path, "step") if scale == "epoch" else None
            key = (number + offset, *([] if step is None else [step]))
        found.append(key)
    return found, scale


def _offset(items: list[LocatedCheckpoint], keys: list[Key | None], scale: Scale) -> float:
    """Find the offset of names from contents: some trainers save epoch 3 as the fourth."""
    for item, key in zip(items, keys, strict=True):
        if key is not None:
            number = stored_number(item.stored.path, scale)
            offset = 0.0 if number is None else key[0] - number
            return offset if abs(offset) <= 1 else 0.0
    return 0.0


def _with_step(item: LocatedCheckpoint, key: Key | None, scale: Scale | None) -> LocatedCheckpoint:
    if key is None or (scale is None and len(key) > 1):
        return item
    is_step = scale == "epoch" and len(key) > 1 and key[1] >= 0
    number = key[1] if is_step else key[0]
    unit = "step" if is_step else scale
    if not float(number).is_integer():
        return item
    return replace(item, stored=replace(item.stored, step=int(number), counted_in=unit))


def _note(lost: list[LocatedCheckpoint], num: int) -> str | None:
    """Make a sentence on checkpoints whose training step is unknown."""
    if not lost:
        return None
    names = first_names([item.stored.name for item in lost])
    if len(lost) == num:
        return f"the training order of {names} is unknown: they are sorted by name"
    are_first = [_place(item, None)[0] == 0 for item in lost]
    where = "first" if all(are_first) else "last" if not any(are_first) else "first or last"
    return f"the training step of {names} is unknown: placed {where} in its run"


def first_names(names: Sequence[str]) -> str:
    """Join the first few names, with the number of others."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
