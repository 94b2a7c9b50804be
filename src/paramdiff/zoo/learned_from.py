"""Record of the checkpoints that trained a generator or were held out, kept with its outputs.

Checkpoints are identified by the values of the generated tensors, whatever their file: a copy
under another name, or in another format, is the same checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings, load
from paramdiff.storage import read_json, write_json
from paramdiff.zoo.zoo import HoldOutRule, ZooIndex

LEARNED_FROM_FILE = "learned_from.json"


class LearnedFrom(Settings):
    """The checkpoints that trained a generator, and those it held out."""

    schema_version: Literal[1] = 1
    tensors: tuple[str, ...] = Field(min_length=1, description="names of the generated tensors")
    trained: tuple[str, ...] = Field(description="SHA-256 of these values, one per checkpoint")
    held_out: tuple[str, ...] = Field(description="the same of held-out checkpoints")
    hold_out: HoldOutRule = Field(description="rule by which these were chosen")

    @classmethod
    def of(cls, index: ZooIndex) -> "LearnedFrom | None":
        """Read the record from a zoo's index; return None if it has no hashes of values."""
        hashes: dict[bool, list[str]] = {False: [], True: []}
        for entry in index.checkpoints:
            if entry.values_sha256 is None:
                return None
            hashes[entry.held_out].append(entry.values_sha256)
        return cls(
            tensors=tuple(name for name, _, _ in index.layout),
            trained=tuple(hashes[False]),
            held_out=tuple(hashes[True]),
            hold_out=index.hold_out,
        )

    def write(self, folder: Path) -> None:
        """Write the record to a folder."""
        write_json(folder / LEARNED_FROM_FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> "LearnedFrom | None":
        """Read the record of a folder.

        Args:
            folder: folder of a parameter space or of generated checkpoints.

        Returns:
            None if there is no record.

        Raises:
            UserError: the file is malformed.
        """
        path = folder / LEARNED_FROM_FILE
        if not path.is_file():
            return None
        return load(cls, read_json(path), path)


def is_held_out_new(index: ZooIndex, known: LearnedFrom | None) -> bool:
    """Check if hashes prove that no held-out checkpoint of a zoo trained a generator.

    Args:
        index: index of the zoo.
        known: record of the generator's checkpoints, if there is one.

    Returns:
        False also if nothing is held out, or other tensors were hashed.
    """
    held_out = [entry.values_sha256 for entry in index.checkpoints if entry.held_out]
    if known is None or not held_out or known.tensors != tuple(name for name, *_ in index.layout):
        return False
    return None not in held_out and not set(held_out) & set(known.trained)


def learned_from(folders: Sequence[Path]) -> LearnedFrom | None:
    """Combine the records of several folders.

    Args:
        folders: folders of generated checkpoints.

    Returns:
        The checkpoints that trained any generator, and those that all held out; None if a record
        is missing, or the generators make different tensors.

    Raises:
        UserError: see ``LearnedFrom.read``.
    """
    found = [LearnedFrom.read(folder) for folder in folders]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or len({one.tensors for one in known}) != 1:
        return None
    first, *others = known
    trained = dict.fromkeys(digest for one in known for digest in one.trained)
    held_out = [
        digest
        for digest in first.held_out
        if digest not in trained and all(digest in one.held_out for one in others)
    ]
    return first.model_copy(update={"trained": tuple(trained), "held_out": tuple(held_out)})
