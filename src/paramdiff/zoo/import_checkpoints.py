"""Somebody's checkpoints to a zoo: in training order, each once, some of them held out.

Files are read without executing code (``checkpoints/``), one at a time. All must hold the same
tensors in the same shapes. What is not selected must be equal in all of them, or come from a base
checkpoint: a generated network cannot be completed from values that differ. Counters alone may.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from paramdiff.checkpoints.duplicates import values_sha256_of, without_duplicates
from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.sources import Runs, find_checkpoints, find_runs
from paramdiff.checkpoints.summary import check_same
from paramdiff.checkpoints.tensor_kinds import (
    SAVE_AGAIN,
    TieFinder,
    is_binary,
    is_counter,
    is_generated,
    reason_not_generated,
)
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import INDEX_FILE, HoldOutRule, SkippedDuplicate, read_index, write_zoo

MAX_LISTED = 5


Seen = Literal["trained", "held out", "never met"]


@dataclass(frozen=True)
class Imported:
    """What must be said of imported checkpoints.

    Attributes:
        notes: what was left out, put into order, or is not known; one sentence each.
        is_held_out_new: whether hashes prove that nothing held out trained the generator.
        replaced: names of the tensors that differ from those that the vectors are completed with,
            in any of the checkpoints: of counters, and of what a base replaces.
    """

    notes: tuple[str, ...]
    is_held_out_new: bool
    replaced: frozenset[str] = frozenset()


def import_checkpoints(
    sources: Sequence[str],
    zoo_folder: Path,
    patterns: tuple[str, ...],
    *,
    base: Path | None = None,
    num_held_out: int | None = 0,
    spaced: bool = False,
    state_dict_key: str | None = None,
    known: LearnedFrom | None = None,
    compared: Sequence[StoredCheckpoint] | None = None,
) -> Imported:
    """Import checkpoints, run by run, each in training order and once.

    Args:
        sources: see ``find_checkpoints``.
        zoo_folder: where the zoo is written.
        patterns: which tensors to select.
        base: a complete checkpoint for what is not selected; the first checkpoint by default.
        num_held_out: how many checkpoints to hold out, of one run or several: the last ones. None
            holds out those that a generator held out, as far as that is known.
        spaced: whether to hold out so many evenly spaced ones instead.
        state_dict_key: the key of the state dict, where a file holds several.
        known: what a generator saw of them.
        compared: other checkpoints, which these are only compared with; None where others are to
            be generated, which asks for more.

    Returns:
        What must be said of it.

    Raises:
        UserError: a file cannot be read, differs in names or shapes, or holds values that are not
            finite; tensors that are not selected, or that cannot be generated, differ and no base
            is given; too few checkpoints remain; or one that is to be held out trained the
            generator.
    """
    found = find_checkpoints(sources)
    first, _ = found.listed[0].read(state_dict_key)
    counting = None if base is None else select(first, patterns)  # the rest is the base's
    found, copies = without_duplicates(found, state_dict_key, counting)
    runs, notes = found.runs, list(found.notes)
    first, checkpoint_format = found.listed[0].read(state_dict_key)
    names = select(first, patterns)
    others = [*found.listed[1:], *(compared or ())]
    layout = ParameterLayout.of(first, names, _ties(first, names, others, state_dict_key))
    entries = _entries(runs)
    seen = None if known is None else _seen(found.listed, known, state_dict_key)
    if known is not None and seen is None:
        notes.append(
            "the originals lack tensors that the generator makes: which of them it learned from "
            "is not known"
        )
    if num_held_out is not None:
        hold_out = _hold_out(entries, num_held_out, sources, spaced=spaced)
        _refuse_trained(entries, seen)
    elif known is not None and seen is not None:
        hold_out = _as_before(entries, seen, known.hold_out)
        notes += _strangers(entries, seen)
    else:
        hold_out = "none"
    complete = first
    if base is not None:
        complete, checkpoint_format = StoredCheckpoint(base, base.name).read(state_dict_key)
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
        state_dict_key,
        entries,
        needs_equal_rest=base is None,
        generates=compared is None,
    )
    duplicates = [
        SkippedDuplicate(source=copy.name, duplicate_of=copy.duplicate_of) for copy in copies
    ]
    write_zoo(
        zoo_folder, vectors, entries, layout, complete, hold_out, checkpoint_format, duplicates
    )
    is_new = seen is not None and hold_out != "none"
    return Imported(tuple(notes), is_new, frozenset(replaced))


def _entries(runs: Runs) -> list[dict]:
    """Step, run and source of each; its place in the run where not all say one kind of step."""
    listed = [stored for run in runs for stored in run]
    is_known = all(stored.step is not None for stored in listed)
    is_known &= len({stored.counted_in for stored in listed}) == 1
    return [
        {
            "step": stored.step if is_known else place,
            "run": number,
            "held_out": False,
            "source": stored.name,
        }
        for number, run in enumerate(runs)
        for place, stored in enumerate(run)
    ]


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
    index, made_at = read_index(zoo_folder), (zoo_folder / INDEX_FILE).stat().st_mtime
    hashes = {entry.source: entry.source_sha256 for entry in index.checkpoints}
    again = "begin in a new folder, or remove this one"
    sources_then = [entry.source or "" for entry in index.checkpoints]
    sources_then += [copy.source for copy in index.duplicates]
    if sorted(stored.name for stored in found) != sorted(sources_then):
        raise UserError(
            f"{zoo_folder}: was made of {len(sources_then)} checkpoints, found {len(found)} or "
            f"others in {', '.join(sources)}: {again}"
        )
    for stored in found:  # a copy that changes may be one no longer
        if stored.changed_at > made_at and stored.sha256 != hashes.get(stored.name):
            raise UserError(f"{stored.path}: has changed since {zoo_folder} was made: {again}")


def _vectors(
    runs: Runs,
    first: dict[str, Tensor],
    complete: Mapping[str, Tensor],
    layout: ParameterLayout,
    replaced: set[str],
    state_dict_key: str | None,
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
        found = first if number == 0 else stored.read(state_dict_key)[0]
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
    state_dict_key: str | None,
) -> dict[str, str]:
    """What is one tensor under several names; further checkpoints are read only where needed."""
    finder = TieFinder({name: first[name] for name in names})
    for stored in others:
        if finder.is_final:
            break
        finder.see(stored.read(state_dict_key)[0])
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
        why = reason_not_generated(name, first, first[name], is_mask=name in masks)
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
    entries: list[dict], num_held_out: int, sources: Sequence[str], *, spaced: bool
) -> HoldOutRule:
    if num_held_out == 0:
        return "none"
    if num_held_out >= len(entries):
        raise UserError(
            f"num_held_out: expected fewer than the {len(entries)} checkpoints of "
            f"{', '.join(sources)}, found {num_held_out}"
        )
    if spaced:  # the middle of each of equally long stretches
        for number in range(num_held_out):
            entries[(2 * number + 1) * len(entries) // (2 * num_held_out)]["held_out"] = True
        return _rule(entries, "spaced")
    for entry in entries[-num_held_out:]:
        entry["held_out"] = True
    return _rule(entries, "tail")


def _rule(entries: Sequence[dict], rule: HoldOutRule) -> HoldOutRule:
    """The rule, or that whole runs are held out, where they are."""
    learned = {entry["run"] for entry in entries if not entry["held_out"]}
    held_out = {entry["run"] for entry in entries if entry["held_out"]}
    if not held_out:
        return "none"
    return rule if learned & held_out else "run"


def _seen(
    listed: Sequence[StoredCheckpoint], known: LearnedFrom, state_dict_key: str | None
) -> list[Seen] | None:
    """What a generator did with each checkpoint; None where one lacks what it makes."""
    digests = [values_sha256_of(stored, known.tensors, state_dict_key) for stored in listed]
    if None in digests:
        return None
    trained, held_out = set(known.trained), set(known.held_out)
    return [
        "trained" if one in trained else "held out" if one in held_out else "never met"
        for one in digests
    ]


def _as_before(entries: list[dict], seen: Sequence[Seen], rule: HoldOutRule) -> HoldOutRule:
    """Hold out what the generator held out."""
    for entry, told in zip(entries, seen, strict=True):
        entry["held_out"] = told == "held out"
    if all(entry["held_out"] for entry in entries):
        raise UserError(
            "--originals: expected checkpoints that the generator learned from, found only such "
            "as it held out: name the others, too"
        )
    return _rule(entries, rule)


def _strangers(entries: Sequence[dict], seen: Sequence[Seen]) -> list[str]:
    pairs = zip(entries, seen, strict=True)
    names = [entry["source"] for entry, told in pairs if told == "never met"]
    if not names:
        return []
    return [
        f"{len(names)} of {len(entries)} originals neither trained the generator nor were held "
        f"out by it: {first_names(names)}"
    ]


def _refuse_trained(entries: Sequence[dict], seen: Sequence[Seen] | None) -> None:
    """Refuse to hold out what trained the generator: it would count as new."""
    pairs = zip(entries, seen or [], strict=seen is not None)
    names = [one["source"] for one, told in pairs if one["held_out"] and told == "trained"]
    if not names:
        return
    num = (seen or []).count("held out")
    before = f"leave it away to hold out the {num} that the generator held out"
    raise UserError(
        f"--num-held-out: {first_names(names)} trained the generator, as hashes show, and cannot "
        f"be held out: {before if num else 'leave it away'}, or say 0 to hold out none"
    )
