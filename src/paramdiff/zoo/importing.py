"""Somebody's checkpoints to a zoo.

Files are read without executing code (``checkpoints/``), one at a time. All must hold the same
tensors in the same shapes. What is not selected must be equal in all of them, or come from a base
checkpoint: a generated network cannot be completed from values that differ. Counters alone may.
"""

from collections.abc import Iterator, Mapping, Sequence
from glob import has_magic
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.checkpoints.kinds import (
    SAVE_AGAIN,
    TieFinder,
    is_binary,
    is_counter,
    is_generated,
    why_not,
)
from paramdiff.checkpoints.sources import Runs, find_runs
from paramdiff.checkpoints.stored import StoredCheckpoint
from paramdiff.checkpoints.survey import check_same
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.zoo.zoo import INDEX_FILE, HoldOutRule, read_index, write_zoo

MAX_LISTED = 5


def import_checkpoints(
    sources: Sequence[str],
    zoo_folder: Path,
    patterns: tuple[str, ...],
    *,
    base: Path | None = None,
    num_held_out: int = 0,
    spaced: bool = False,
    entry: str | None = None,
    compared: Sequence[StoredCheckpoint] | None = None,
) -> set[str]:
    """Import checkpoints, run by run, in the natural order of their names.

    Args:
        sources: see ``find_runs``.
        zoo_folder: where the zoo is written.
        patterns: which tensors to select.
        base: a complete checkpoint for what is not selected; the first checkpoint by default.
        num_held_out: how many checkpoints of the tail to hold out; with several runs the last run
            is held out instead.
        spaced: whether to hold out so many evenly spaced ones, of one run or several.
        entry: the key of the state dict, where a file holds several.
        compared: other checkpoints, which these are only compared with; None where others are to
            be generated, which asks for more.

    Returns:
        Names of the tensors that differ from those that the vectors are completed with, in any of
        the checkpoints: of counters, and of what a base replaces.

    Raises:
        UserError: a file cannot be read, differs in names or shapes, or holds values that are not
            finite; tensors that are not selected, or that cannot be generated, differ and no base
            is given; or too few checkpoints remain.
    """
    runs = find_runs(sources)
    listed = [(run, stored) for run, found in enumerate(runs) for stored in found]
    first, form = listed[0][1].read(entry)
    names = select(first, patterns)
    others = [*(stored for _, stored in listed[1:]), *(compared or ())]
    layout = ParameterLayout.of(first, names, _ties(first, names, others, entry))
    entries = [
        {"step": number, "run": run, "held_out": False, "source": stored.name}
        for number, (run, stored) in enumerate(listed)
    ]
    hold_out = _hold_out(entries, len(runs), num_held_out, sources, spaced=spaced)
    complete = first
    if base is not None:
        complete, form = StoredCheckpoint(base, base.name).read(entry)
    missing = [name for name in layout.names if name not in complete]
    if missing:
        raise UserError(f"{base}: tensor {missing[0]!r}, which is selected, is missing")
    replaced: set[str] = set()
    vectors = _vectors(
        runs,
        first,
        complete,
        layout,
        replaced,
        entry,
        entries,
        needs_equal_rest=base is None,
        generates=compared is None,
    )
    write_zoo(zoo_folder, vectors, entries, layout, complete, hold_out, form)
    return replaced


def refuse_changed(sources: Sequence[str], zoo_folder: Path) -> None:
    """Refuse to go on with a zoo of checkpoints that have changed since it was made of them.

    Args:
        sources: what it was made of, see ``find_runs``. They need not be there any more, and
            those of the Hub are not asked for again.
        zoo_folder: the zoo.

    Raises:
        UserError: there are other checkpoints than the zoo's, or other values in one.
    """
    if not all(Path(source).exists() or has_magic(source) for source in sources):
        return
    try:
        found = [stored for run in find_runs(sources) for stored in run]
    except UserError:
        return
    entries, made_at = (
        read_index(zoo_folder).checkpoints,
        (zoo_folder / INDEX_FILE).stat().st_mtime,
    )
    again = "begin in a new folder, or remove this one"
    if [stored.name for stored in found] != [entry.source for entry in entries]:
        raise UserError(
            f"{zoo_folder}: was made of {len(entries)} checkpoints, found {len(found)} or others "
            f"in {', '.join(sources)}: {again}"
        )
    for stored, entry in zip(found, entries, strict=True):
        if stored.changed_at > made_at and stored.sha256 != entry.source_sha256:
            raise UserError(f"{stored.path}: has changed since {zoo_folder} was made: {again}")


def _vectors(
    runs: Runs,
    first: dict[str, Tensor],
    complete: Mapping[str, Tensor],
    layout: ParameterLayout,
    replaced: set[str],
    entry: str | None,
    entries: Sequence[dict],
    *,
    needs_equal_rest: bool,
    generates: bool,
) -> Iterator[Tensor]:
    """The raw vector ``[P]`` of each checkpoint; what is not selected is compared on the way.

    Its hash joins its entry here, while the system still holds what it just read. Names of what
    differs from the complete checkpoint join ``replaced``.
    """
    listed = [stored for found in runs for stored in found]
    rest = [
        name
        for name, tensor in first.items()
        if name not in layout.names and not is_counter(name, tensor)
    ]
    differing: set[str] = set()
    masks = {name for name in layout.names if is_binary(first[name])}
    for number, stored in enumerate(listed):
        found = first if number == 0 else stored.read(entry)[0]
        check_same(first, found, listed[0], stored)
        entries[number]["source_sha256"] = stored.sha256
        yield layout.flatten(found, str(stored.path))
        differing |= {name for name in first if not torch.equal(first[name], found[name])}
        masks = {name for name in masks if is_binary(found[name])}
        replaced |= {
            name
            for name in found
            if name not in layout.names
            and name in complete
            and not torch.equal(complete[name], found[name])
        }
    _refuse_differing(
        [name for name in first if name in differing],
        first,
        rest if needs_equal_rest else [],
        layout.names if generates else (),
        masks,
    )


def _ties(
    first: Mapping[str, Tensor],
    names: Sequence[str],
    others: Sequence[StoredCheckpoint],
    entry: str | None,
) -> dict[str, str]:
    """What is one tensor under several names; further checkpoints are read only where needed."""
    finder = TieFinder({name: first[name] for name in names})
    for stored in others:
        if finder.is_settled:
            break
        finder.see(stored.read(entry)[0])
    return finder.ties


def _refuse_differing(
    differing: Sequence[str],
    first: Mapping[str, Tensor],
    rest: Sequence[str],
    generated: Sequence[str],
    masks: set[str],
) -> None:
    """Refuse tensors that differ, and that no generated network can be given.

    Args:
        differing: names of what differs between the checkpoints.
        first: the first one's tensors.
        rest: names of what is to be completed from any of them.
        generated: names of what is to be generated.
        masks: names of what holds zeros and ones alone.

    Raises:
        UserError: there are some.
    """
    for name in differing:
        if name not in generated and (name not in rest or is_generated(name, first[name])):
            continue
        why = why_not(name, first, first[name], is_mask=name in masks)
        if why is not None:
            ways = SAVE_AGAIN if name in rest else "or leave it out of what is selected"
            raise UserError(
                f"tensor {name!r} differs between the checkpoints and cannot be generated: {why}, "
                f"{ways}"
            )
    names = [name for name in differing if name in rest]
    if names:
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        raise UserError(
            f"{len(names)} tensors that are not selected differ between the checkpoints "
            f"({', '.join(names[:MAX_LISTED])}{more}): select them too, or name a base checkpoint "
            "to complete the generated networks from"
        )


def _hold_out(
    entries: list[dict],
    num_runs: int,
    num_held_out: int,
    sources: Sequence[str],
    *,
    spaced: bool,
) -> HoldOutRule:
    if num_runs > 1 and not spaced:
        for entry in entries:
            entry["held_out"] = entry["run"] == num_runs - 1
        return "run"
    if num_held_out == 0:
        return "none"
    if num_held_out >= len(entries):
        raise UserError(
            f"collection.num_held_out: expected fewer than the {len(entries)} checkpoints of "
            f"{', '.join(sources)}, found {num_held_out}"
        )
    if spaced:  # the middle of each of equally long stretches
        for number in range(num_held_out):
            entries[(2 * number + 1) * len(entries) // (2 * num_held_out)]["held_out"] = True
        return "spaced"
    for entry in entries[-num_held_out:]:
        entry["held_out"] = True
    return "tail"
