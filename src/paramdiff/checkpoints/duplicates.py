"""Checkpoints that hold the same values: ``best.pt`` beside ``epoch=3.pt``, a step in two formats.

What counts are the tensors, not the files: two files of one step differ in what a trainer keeps
beside the weights. Counters do not count.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import named
from paramdiff.checkpoints.sources import FoundCheckpoints
from paramdiff.checkpoints.tensor_kinds import is_counter
from paramdiff.checkpoints.training_step import named_numbers
from paramdiff.progress import Progress, ignore_progress

DIGEST_BYTES = 16
MAX_REMEMBERED = 1 << 18
"""Tensors whose digests are kept, so that ``fit`` reads no checkpoint once more for them."""

_remembered: dict[tuple[str, str | None, float], dict[str, bytes]] = {}


@dataclass(frozen=True)
class Copy:
    """A checkpoint that was left out.

    Attributes:
        name: of it.
        of: the name of the one that stays, whose values it has.
    """

    name: str
    of: str


def values_sha256(tensors: Mapping[str, Tensor]) -> str:
    """One hash for named values, whatever file they come from.

    Args:
        tensors: name to tensor.

    Returns:
        The SHA-256 of the digests of names, types, shapes and bytes, in the order of the names.
    """
    return _combined({name: _digest(name, one) for name, one in tensors.items()})


def values_sha256_of(
    stored: StoredCheckpoint, names: Sequence[str], entry: str | None = None
) -> str | None:
    """The same of a checkpoint on disk, read where its values are not remembered.

    Args:
        stored: the checkpoint.
        names: of the tensors that count.
        entry: the key of the state dict, where a file holds several.

    Returns:
        None where it lacks one of the tensors.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    digests = _digests(stored, entry, None)
    if any(name not in digests for name in names):
        return None
    return _combined({name: digests[name] for name in names})


class CopyFinder:
    """Finds copies while checkpoints are read, each of them once.

    The one that stays is a file rather than a link, named by its step rather than ``best``, and in
    the format that most have.

    Args:
        found: what the user named.
        entry: the key of the state dict, where a file holds several.
        names: of the tensors that count; all but counters by default.
    """

    def __init__(
        self,
        found: FoundCheckpoints,
        entry: str | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._found, self._entry, self._names = found, entry, names
        self._first: dict[str, StoredCheckpoint] = {}
        self._copies: dict[int, Copy] = {}
        suffixes = Counter(stored.path.suffix for stored in found.listed)
        listed = found.listed
        self.order = sorted(range(len(listed)), key=lambda row: _rank(listed[row], suffixes))
        """Rows of ``found.listed``, those that stay before their copies."""

    def is_copy(self, row: int, tensors: Mapping[str, Tensor] | None = None) -> bool:
        """Note the values of a checkpoint; rows come in the order of ``order``.

        Args:
            row: of the checkpoint.
            tensors: what it holds; read here where it is not remembered.

        Returns:
            Whether an earlier one has the same.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        stored = self._found.listed[row]
        digests = _digests(stored, self._entry, tensors)
        if self._names is not None:
            digests = {name: digests[name] for name in self._names if name in digests}
        kept = self._first.setdefault(_combined(digests), stored)
        if kept is stored:
            return False
        self._copies[row] = Copy(stored.name, kept.name)
        return True

    @property
    def copies(self) -> tuple[Copy, ...]:
        """What was found, in training order."""
        return tuple(self._copies[row] for row in sorted(self._copies))

    @property
    def kept(self) -> list[int]:
        """Rows of the checkpoints that stay."""
        return [row for row in range(len(self._found.listed)) if row not in self._copies]

    def without(self) -> FoundCheckpoints:
        """What stays, with a note on what was left out."""
        if not self._copies:
            return self._found
        rows, runs = iter(range(len(self._found.listed))), []
        for run in self._found.runs:
            runs.append([stored for stored in run if next(rows) not in self._copies])
        lost = [copy.name for copy in self.copies]
        notes = [one for one in self._found.notes if not any(name in one for name in lost)]
        told = named([f"{copy.name} (as {copy.of})" for copy in self.copies])
        tensors = "tensors" if self._names is None else "selected tensors"
        many = f"a checkpoint whose {tensors} equal another's is left out"
        if len(lost) > 1:
            many = f"{len(lost)} checkpoints whose {tensors} equal another's are left out"
        kept = [run for run in runs if run]
        return replace(self._found, runs=kept, notes=(*notes, f"{many}: {told}"))


def without_copies(
    found: FoundCheckpoints,
    entry: str | None = None,
    names: Sequence[str] | None = None,
    progress: Progress = ignore_progress,
) -> tuple[FoundCheckpoints, tuple[Copy, ...]]:
    """Leave out what holds the values of another checkpoint.

    Args:
        found: see ``CopyFinder``.
        entry: see ``CopyFinder``.
        names: see ``CopyFinder``.
        progress: told how many checkpoints are read, and how many there are.

    Returns:
        What stays, with a note on the rest, and what was left out.

    Raises:
        UserError: a checkpoint cannot be read.
    """
    finder = CopyFinder(found, entry, names)
    for done, row in enumerate(finder.order):
        finder.is_copy(row)
        progress(done + 1, len(finder.order))
    return finder.without(), finder.copies


def _rank(stored: StoredCheckpoint, suffixes: Counter[str]) -> tuple[bool, bool, int]:
    numbers = named_numbers(stored.name)
    is_numbered = numbers.epoch is not None or numbers.step is not None or bool(numbers.plain)
    return stored.path.is_symlink(), not is_numbered, -suffixes[stored.path.suffix]


def _digests(
    stored: StoredCheckpoint, entry: str | None, tensors: Mapping[str, Tensor] | None
) -> dict[str, bytes]:
    key = (str(stored.path.absolute()), entry, stored.changed_at)
    if key in _remembered:
        return _remembered[key]
    if tensors is None:
        tensors, _ = stored.read(entry)
    found = {
        name: _digest(name, one) for name, one in tensors.items() if not is_counter(name, one)
    }
    if sum(map(len, _remembered.values())) + len(found) <= MAX_REMEMBERED:
        _remembered[key] = found
    return found


def _digest(name: str, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
    digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()[:DIGEST_BYTES]


def _combined(digests: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()
