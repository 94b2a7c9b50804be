"""Duplicate checkpoints: ``best.pt`` beside ``epoch=3.pt``, or one step in two formats.

Checkpoints are compared by their tensors, without counters, and not by their files: two files of
one step may differ in the training state beside the weights.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.sources import FoundCheckpoints
from paramdiff.checkpoints.tensor_kinds import is_counter
from paramdiff.checkpoints.training_step import named_numbers
from paramdiff.progress import Progress, ignore_progress

DIGEST_BYTES = 16
MAX_CACHED = 1 << 18
"""Maximum number of cached tensor digests, which save ``fit`` another read."""

_cache: dict[tuple[str, str | None, float], dict[str, bytes]] = {}


@dataclass(frozen=True)
class Duplicate:
    """A checkpoint that was left out.

    Attributes:
        name: its name.
        duplicate_of: name of the kept checkpoint with the same values.
    """

    name: str
    duplicate_of: str


def values_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash named tensors, independently of their file.

    Args:
        tensors: name to tensor.

    Returns:
        SHA-256 of the digests of names, types, shapes and bytes, in the order of the names.
    """
    return _combined({name: _digest(name, one) for name, one in tensors.items()})


def values_sha256_of(
    stored: StoredCheckpoint, names: Sequence[str], state_dict_key: str | None = None
) -> str | None:
    """Hash tensors of a checkpoint on disk, which is read unless its digests are cached.

    Args:
        stored: the checkpoint.
        names: names of the tensors to hash.
        state_dict_key: key of the state dict in a file that holds several.

    Returns:
        None if it lacks one of the tensors.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    digests = _digests(stored, state_dict_key, None)
    if any(name not in digests for name in names):
        return None
    return _combined({name: digests[name] for name in names})


class DuplicateFinder:
    """Search for duplicates while checkpoints are read, each of them once.

    Of equal checkpoints, a file is kept rather than a link, a name with a step rather than
    ``best``, and the more frequent format.

    Args:
        found: the user's checkpoints.
        state_dict_key: key of the state dict in a file that holds several.
        names: names of the tensors to compare; all but counters by default.
    """

    def __init__(
        self,
        found: FoundCheckpoints,
        state_dict_key: str | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._found, self._state_dict_key, self._names = found, state_dict_key, names
        self._first: dict[str, StoredCheckpoint] = {}
        self._duplicates: dict[int, Duplicate] = {}
        suffixes = Counter(stored.path.suffix for stored in found.listed)
        listed = found.listed
        self.order = sorted(range(len(listed)), key=lambda row: _rank(listed[row], suffixes))
        """Rows of ``found.listed``, kept checkpoints before their duplicates."""

    def is_duplicate(self, row: int, tensors: Mapping[str, Tensor] | None = None) -> bool:
        """Record the values of a checkpoint; call in the order of ``order``.

        Args:
            row: row of the checkpoint.
            tensors: its tensors; None reads them unless their digests are cached.

        Returns:
            True if an earlier checkpoint has the same values.

        Raises:
            UserError: the checkpoint cannot be read.
        """
        stored = self._found.listed[row]
        digests = _digests(stored, self._state_dict_key, tensors)
        if self._names is not None:
            digests = {name: digests[name] for name in self._names if name in digests}
        kept = self._first.setdefault(_combined(digests), stored)
        if kept is stored:
            return False
        self._duplicates[row] = Duplicate(stored.name, kept.name)
        return True

    @property
    def duplicates(self) -> tuple[Duplicate, ...]:
        """Duplicates in training order."""
        return tuple(self._duplicates[row] for row in sorted(self._duplicates))

    @property
    def kept(self) -> list[int]:
        """Rows of the kept checkpoints."""
        return [row for row in range(len(self._found.listed)) if row not in self._duplicates]

    def without(self) -> FoundCheckpoints:
        """Return the kept checkpoints, with a note on the duplicates."""
        if not self._duplicates:
            return self._found
        rows, runs = iter(range(len(self._found.listed))), []
        for run in self._found.runs:
            runs.append([stored for stored in run if next(rows) not in self._duplicates])
        lost = [copy.name for copy in self.duplicates]
        notes = [one for one in self._found.notes if not any(name in one for name in lost)]
        names = first_names([f"{copy.name} (as {copy.duplicate_of})" for copy in self.duplicates])
        tensors = "tensors" if self._names is None else "selected tensors"
        many = f"a checkpoint whose {tensors} equal another's is left out"
        if len(lost) > 1:
            many = f"{len(lost)} checkpoints whose {tensors} equal another's are left out"
        kept = [run for run in runs if run]
        return replace(self._found, runs=kept, notes=(*notes, f"{many}: {names}"))


def without_duplicates(
    found: FoundCheckpoints,
    state_dict_key: str | None = None,
    names: Sequence[str] | None = None,
    progress: Progress = ignore_progress,
) -> tuple[FoundCheckpoints, tuple[Duplicate, ...]]:
    """Leave out checkpoints that duplicate the values of another.

    Args:
        found: see ``DuplicateFinder``.
        state_dict_key: see ``DuplicateFinder``.
        names: see ``DuplicateFinder``.
        progress: called with the number of checkpoints read and the total.

    Returns:
        The kept checkpoints with a note on the rest, and the duplicates.

    Raises:
        UserError: a checkpoint cannot be read.
    """
    finder = DuplicateFinder(found, state_dict_key, names)
    for done, row in enumerate(finder.order):
        finder.is_duplicate(row)
        progress(done + 1, len(finder.order))
    return finder.without(), finder.duplicates


def _rank(stored: StoredCheckpoint, suffixes: Counter[str]) -> tuple[bool, bool, int]:
    numbers = named_numbers(stored.name)
    is_numbered = numbers.epoch is not None or numbers.step is not None or bool(numbers.plain)
    return stored.path.is_symlink(), not is_numbered, -suffixes[stored.path.suffix]


def _digests(
    stored: StoredCheckpoint, state_dict_key: str | None, tensors: Mapping[str, Tensor] | None
) -> dict[str, bytes]:
    key = (str(stored.path.absolute()), state_dict_key, stored.changed_at)
    if key in _cache:
        return _cache[key]
    if tensors is None:
        tensors, _ = stored.read(state_dict_key)
    found = {
        name: _digest(name, one) for name, one in tensors.items() if not is_counter(name, one)
    }
    if sum(map(len, _cache.values())) + len(found) <= MAX_CACHED:
        _cache[key] = found
    return found


def _digest(name: str, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
    digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()[:DIGEST_BYTES]


def _combined(digests: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()
