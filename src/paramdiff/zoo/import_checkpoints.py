"""Import of existing checkpoints into a zoo, in training order and without duplicates.

Files are read without executing code (``checkpoints/``), one at a time. All must hold the same
tensors in the same shapes. Unselected tensors must be equal in all of them, or come from a base
checkpoint, because differing values cannot complete a generated network. Only counters may differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.checkpoints.duplicates import without_duplicates
from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.recorded import is_recorded_base, recorded_base, recorded_values
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
from paramdiff.zoo.hold_out import (
    generator_uses,
    hold_out_as_before,
    hold_out_last,
    note_unused,
    refuse_trained,
)
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import INDEX_FILE, SkippedDuplicate, read_index, write_zoo

MAX_LISTED = 5


@dataclass(frozen=True)
class Imported:
    """Facts about imported checkpoints.

    Attributes:
        notes: sentences on duplicates, order and unknown provenance.
        is_held_out_new: True if hashes prove that no held-out checkpoint trained the generator.
        replaced: names of unselected tensors that differ from the base in any checkpoint.
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
    """Import checkpoints run by run, each in training order and without duplicates.

    Args:
        sources: see ``find_checkpoints``.
        zoo_folder: folder to write the zoo to.
        patterns: patterns of the tensors to select.
        base: checkpoint that provides unselected tensors; by default the one beside recorded
            checkpoints of selected tensors, else the first one.
        num_held_out: number of checkpoints to hold out from the end. None holds out those that
            the generator held out, if known.
        spaced: hold out evenly spaced checkpoints instead.
        state_dict_key: key of the state dict in a file that holds several.
        known: checkpoints that trained a generator, or that it held out.
        compared: other checkpoints to compare these with; None if a generator is to be trained,
            which requires more of them.

    Returns:
        Facts about the checkpoints.

    Raises:
        UserError: a file cannot be read, differs in names or shapes, or holds non-finite values;
            unselected tensors, or tensors that cannot be generated, differ and no base is given;
            too few checkpoints remain; or a checkpoint to hold out trained the generator.
    """
    found = find_checkpoints(sources)
    base = base or recorded_base(stored.path for stored in found.listed)
    first, _ = found.listed[0].read(state_dict_key)
    counting = None if base is None else select(first, patterns)  # the rest comes from the base
    found, copies = without_duplicates(found, state_dict_key, counting)
    runs, notes = found.runs, list(found.notes)
    first, checkpoint_format = found.listed[0].read(state_dict_key)
    names = select(first, patterns)
    others = [*found.listed[1:], *(compared or ())]
    layout = ParameterLayout.of(first, names, _ties(first, names, others, state_dict_key))
    entries = _entries(runs)
    uses = None if known is None else generator_uses(found.listed, known, state_dict_key)
    if known is not None and uses is None:
        notes.append(
            "the originals lack tensors that the generator makes, so the checkpoints that it was "
            "trained on are unknown"
        )
    if num_held_out is not None:
        rule = hold_out_last(entries, num_held_out, sources, spaced=spaced)
        refuse_trained(entries, uses)
    elif known is not None and uses is not None:
        rule = hold_out_as_before(entries, uses, known.hold_out)
        notes += note_unused(entries, uses)
    else:
        rule = "none"
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
        zoo_folder,
        vectors,
        entries,
        layout,
        complete,
        rule,
        checkpoint_format,
        duplicates,
        # a recorder's base is a network in training, and not the one from which the runs started
        None if base is None or is_recorded_base(base) else base.name,
    )
    is_new = uses is not None and rule != "none"
    return Imported(tuple(notes), is_new, frozenset(replaced))


def _entries(runs: Runs) -> list[dict]:
    """Describe each checkpoint; its step is its index if not all count steps in one unit."""
    listed = [stored for run in runs for stored in run]
    is_known = all(stored.step is not None for stored in listed)
    is_known &= len({stored.counted_in for stored in listed}) == 1
    return [
        {
            "step": stored.step if is_known else place,
            "run": number,
            "held_out": False,
            "source": stored.name,
            "known": recorded_values(stored.path),
        }
        for number, run in enumerate(runs)
        for place, stored in enumerate(run)
    ]


def refuse_changed(sources: Sequence[str], zoo_folder: Path) -> None:
    """Refuse a zoo whose source checkpoints have changed since the import.

    Args:
        sources: sources of the zoo, see ``find_runs``. Missing ones and Hub repositories are not
            checked.
        zoo_folder: folder of the zoo.

    Raises:
        UserError: the sources hold other checkpoints, or other values.
    """
    if not all(Path(source).exists() or has_magic(source) for source in sources):
        return
    try:
        found = [stored for run in find_runs(sources) for stored in run]
    except UserError:
        return
    index, made_at = read_index(zoo_folder), (zoo_folder / INDEX_FILE).stat().st_mtime
    hashes = {entry.source: entry.source_sha256 for entry in index.checkpoints}
    again = "start in a new folder, or remove this one"
    sources_then = [entry.source or "" for entry in index.checkpoints]
    sources_then += [copy.source for copy in index.duplicates]
    if sorted(stored.name for stored in found) != sorted(sources_then):
        raise UserError(
            f"{zoo_folder}: the zoo was imported from {len(sources_then)} checkpoints, but "
            f"{', '.join(sources)} now holds {len(found)} or others: {again}"
        )
    for stored in found:  # a duplicate may have changed, too
        if stored.changed_at > made_at and stored.sha256 != hashes.get(stored.name):
            raise UserError(f"{stored.path}: changed after {zoo_folder} was imported: {again}")


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
    """Yield the raw vector ``[P]`` of each checkpoint, comparing unselected tensors on the way.

    Each file is hashed here, while it is still in the system's cache. Names of tensors that differ
    from the complete checkpoint are added to ``replaced``.
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
    """Find tied tensors, reading further checkpoints only as needed."""
    finder = TieFinder({name: first[name] for name in names})
    for stored in others:
        if finder.is_final:
            break
        finder.update(stored.read(state_dict_key)[0])
    return finder.ties


def _refuse_differing(
    differing: Sequence[str],
    first: Mapping[str, Tensor],
    rest: Sequence[str],
    generated: Sequence[str],
    masks: set[str],
) -> None:
    """Refuse differing tensors that no generated network can have.

    Args:
        differing: names of tensors that differ between the checkpoints.
        first: tensors of the first checkpoint.
        rest: names of tensors that any checkpoint provides.
        generated: names of tensors to generate.
        masks: names of tensors that hold only zeros and ones.

    Raises:
        UserError: there is such a tensor.
    """
    for name in differing:
        if name not in generated and (name not in rest or is_generated(name, first[name])):
            continue
        why = reason_not_generated(name, first, first[name], is_mask=name in masks)
        if why is not None:
            ways = SAVE_AGAIN if name in rest else "or exclude it from the selection"
            raise UserError(
                f"tensor {name!r} differs between the checkpoints and cannot be generated: {why}, "
                f"{ways}"
            )
    names = [name for name in differing if name in rest]
    if names:
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        raise UserError(
            f"{len(names)} unselected tensors differ between the checkpoints "
            f"({', '.join(names[:MAX_LISTED])}{more}): select them, too, or pass a base "
            "checkpoint to complete the generated networks"
        )
