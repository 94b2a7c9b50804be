"""The zoo: N checkpoints as one array, with an index of their provenance.

zoo/
  index.json              layout, hold-out rule, and per checkpoint: file, step, seed, run, ...
  base.safetensors        the complete state dict that provides unselected tensors
  checkpoints/0000.safetensors ...  the selected tensors of each checkpoint
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.checkpoints.duplicates import values_sha256
from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import UserError, of_an_earlier_version
from paramdiff.memmap import empty_array, free_pages
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.settings import Settings, load
from paramdiff.storage import (
    StrPath,
    read_json,
    read_tensors,
    sha256_of,
    write_json,
    write_tensors,
    written_aside,
)

INDEX_FILE = "index.json"
BASE_FILE = "base.safetensors"

HoldOutRule = Literal["run", "tail", "spaced", "none"]
"""Whole runs, the end of a single run, evenly spaced checkpoints, or none."""


StoredType = Literal["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


class CheckpointEntry(Settings):
    """Provenance of one checkpoint."""

    file: str
    sha256: str
    step: int | None = None
    seed: int | None = None
    run: int = 0
    held_out: bool = False
    source: str | None = None
    source_sha256: str | None = None
    values_sha256: str | None = Field(
        None, description="SHA-256 of the selected tensors, independent of the file"
    )
    known: dict[str, Value] = Field({}, description="numbers and labels from its header")


class SkippedDuplicate(Settings):
    """An imported checkpoint that was left out because another has the same values."""

    source: str
    duplicate_of: str


class ZooIndex(Settings):
    """The content of ``index.json``."""

    schema_version: Literal[2] = 2
    layout: list[tuple[str, list[int], StoredType]] = Field(min_length=1)
    ties: list[tuple[str, str]] = Field([], description="further names of tensors in the layout")
    hold_out: HoldOutRule
    checkpoints: list[CheckpointEntry]
    checkpoint_format: CheckpointFormat | None = Field(
        None, description="format of imported checkpoints"
    )
    duplicates: tuple[SkippedDuplicate, ...] = Field(
        (), description="imported checkpoints that were left out"
    )
    base_source: str | None = Field(
        None, description="the checkpoint that imported ones are completed with, if one was given"
    )


@dataclass(frozen=True)
class Zoo:
    """Checkpoints of one network.

    Attributes:
        originals: raw vectors ``[N, P]`` of the training checkpoints.
        held_out: raw vectors ``[H, P]`` of held-out checkpoints; ``H`` may be 0.
        layout: position of each tensor in a vector.
        base: complete state dict that provides unselected tensors.
        index: provenance.
    """

    originals: Tensor
    held_out: Tensor
    layout: ParameterLayout
    base: dict[str, Tensor]
    index: ZooIndex

    @classmethod
    def load(cls, folder: StrPath, *, memory_budget: int | None = None) -> "Zoo":
        """Read a zoo; every checkpoint is read once.

        Args:
            folder: folder written by ``write_zoo``.
            memory_budget: maximum bytes of vectors held in memory; see ``empty_array``.

        Returns:
            The zoo.

        Raises:
            UserError: a file is missing, malformed, changed, or does not fit the layout.
        """
        folder = Path(folder)
        index = read_index(folder)
        layout = ParameterLayout.from_json(index.layout, index.ties)
        groups = []
        for held_out in (False, True):
            entries = [entry for entry in index.checkpoints if entry.held_out == held_out]
            array = empty_array(
                len(entries), layout.num_parameters, layout.dtype, folder, memory_budget
            )
            for row, entry in enumerate(entries):
                path = folder / entry.file
                tensors = read_tensors(path)
                if sha256_of(path) != entry.sha256:
                    raise UserError(f"{path}: the file has changed since the zoo was written")
                array[row] = layout.flatten(tensors, str(path))
                free_pages(array)
            groups.append(array)
        if len(groups[0]) == 0:
            raise UserError(f"{folder}: the zoo has no checkpoints")
        return cls(groups[0], groups[1], layout, read_tensors(folder / BASE_FILE), index)

    def first(self, num_originals: int | None) -> "Zoo":
        """Restrict the zoo to its first originals; held-out checkpoints stay.

        Args:
            num_originals: number to keep; None keeps all.

        Returns:
            The smaller zoo.

        Raises:
            UserError: the zoo has fewer originals.
        """
        if num_originals is None or num_originals == len(self.originals):
            return self
        check_num_originals(num_originals, len(self.originals))
        _warn_of_single(num_originals)
        entries = self.index.checkpoints
        kept = [entry for entry in entries if not entry.held_out][:num_originals]
        held_out = [entry for entry in entries if entry.held_out]
        return replace(
            self,
            originals=self.originals[:num_originals],
            index=self.index.model_copy(update={"checkpoints": kept + held_out}),
        )

    @property
    def runs(self) -> Tensor:
        """Training run of each original, ``[N]``, according to the index."""
        return self._runs(held_out=False)

    @property
    def held_out_runs(self) -> Tensor:
        """Training run of each held-out checkpoint, ``[H]``."""
        return self._runs(held_out=True)

    @property
    def steps(self) -> Tensor | None:
        """Training step of each original within its run, ``[N]``; None if one is not known."""
        steps = [one.step for one in self.index.checkpoints if not one.held_out]
        known = [step for step in steps if step is not None]
        is_known = len(known) == len(steps) == len(self.originals)
        return torch.tensor(known, dtype=torch.long) if is_known else None

    @property
    def start(self) -> Tensor | None:
        """Raw vector ``[P]`` of the network from which all runs started; None if not known.

        Known are the pretrained network of a collection whose runs share it, and the base
        checkpoint of an import.
        """
        entries = self.index.checkpoints
        is_imported = any(one.source is not None for one in entries)
        shares_start = len({one.seed for one in entries}) == 1
        if self.index.base_source is None and (is_imported or not shares_start):
            return None
        try:
            return self.layout.flatten(self.base, BASE_FILE)
        except UserError:  # it completes the originals, and may lack what they have
            return None

    def _runs(self, *, held_out: bool) -> Tensor:
        runs = [one.run for one in self.index.checkpoints if one.held_out == held_out]
        return torch.tensor(runs, dtype=torch.long)


def read_index(folder: Path) -> ZooIndex:
    """Read a zoo's index.

    Args:
        folder: folder of the zoo.

    Returns:
        Its content.

    Raises:
        UserError: the file is missing, malformed, or of an earlier version.
    """
    content = read_json(folder / INDEX_FILE)
    if isinstance(content, dict) and content.get("schema_version") == 1:
        raise of_an_earlier_version(folder / INDEX_FILE, "schema_version 1")
    index = load(ZooIndex, content, folder / INDEX_FILE)
    checkpoint_format = (
        None if index.checkpoint_format is None else index.checkpoint_format.in_folder(folder)
    )
    return index.model_copy(update={"checkpoint_format": checkpoint_format})


def write_zoo(
    folder: Path,
    vectors: Iterable[Tensor],
    entries: Sequence[dict],
    layout: ParameterLayout,
    base: dict[str, Tensor],
    hold_out: HoldOutRule,
    checkpoint_format: CheckpointFormat | None = None,
    duplicates: Sequence[SkippedDuplicate] = (),
    base_source: str | None = None,
) -> None:
    """Write a zoo atomically.

    Args:
        folder: folder to write; must not exist yet.
        vectors: raw vectors ``[P]``, one per checkpoint, consumed one at a time.
        entries: fields of ``CheckpointEntry`` except the file and its hash.
        layout: position of each tensor in a vector.
        base: complete state dict.
        hold_out: rule that chose the held-out checkpoints.
        checkpoint_format: format of imported checkpoints.
        duplicates: imported checkpoints that were left out.
        base_source: name of the checkpoint that imported ones are completed with; None if none
            was given.
    """
    _warn_of_single(sum(not entry.get("held_out", False) for entry in entries))
    with written_aside(folder) as aside:
        written = []
        for number, (vector, entry) in enumerate(zip(vectors, entries, strict=True)):
            file = f"checkpoints/{number:04d}.safetensors"
            tensors = layout.unflatten(vector)
            write_tensors(aside / file, tensors)
            own = {slot.name: tensors[slot.name] for slot in layout.slots}
            known = {"values_sha256": values_sha256(own)} | entry
            written.append(CheckpointEntry(file=file, sha256=sha256_of(aside / file), **known))
        write_tensors(aside / BASE_FILE, base, keeps_order=True)
        if checkpoint_format is not None:
            checkpoint_format.copy_extra_files(aside)
        index = ZooIndex(
            layout=layout.to_json(),
            ties=list(layout.ties),
            hold_out=hold_out,
            checkpoints=written,
            checkpoint_format=checkpoint_format,
            duplicates=tuple(duplicates),
            base_source=base_source,
        )
        write_json(aside / INDEX_FILE, index.model_dump(mode="json"))


def check_num_originals(wanted: int, available: int) -> None:
    """Raise a ``UserError`` if a recipe uses more originals than there are."""
    if wanted > available:
        raise UserError(
            f"parameters.num_checkpoints: the zoo has {available} originals, fewer than {wanted}"
        )


def _warn_of_single(num_originals: int) -> None:
    if num_originals == 1:
        warnings.warn(
            "zoo: with a single checkpoint, only copies of it can be generated",
            stacklevel=3,
        )
