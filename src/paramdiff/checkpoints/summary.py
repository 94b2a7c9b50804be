"""Summary of a set of checkpoints: the differences between them, and their defects.

Only one checkpoint is in memory at a time, beside the first, with which every other is compared.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from paramdiff.checkpoints.duplicates import Duplicate, DuplicateFinder
from paramdiff.checkpoints.formats import CheckpointFormat, StoredCheckpoint
from paramdiff.checkpoints.sources import FoundCheckpoints, Runs
from paramdiff.checkpoints.tensor_kinds import (
    TieFinder,
    is_binary,
    is_infinite_mask,
    reason_not_generated,
)
from paramdiff.errors import UserError
from paramdiff.progress import Progress, ignore_progress
from paramdiff.subsampling import evenly_spaced

SAMPLED_VALUES = 16
"""Sampled values per tensor, evenly spaced; enough to recognize a trajectory."""

FEWEST_SAMPLES = 2048
"""Minimum number of samples over all tensors; enough to recognize shared layers."""

OUTLYING = 1e6
"""Values above this multiple of the tensor's root mean square are reported."""


@dataclass
class TensorSummary:
    """Summary of one tensor over all checkpoints.

    Attributes:
        name: name in the state dict.
        shape: shape of the tensor.
        dtype: type in the first checkpoint.
        scale: root mean square of the first checkpoint's values.
        squared_change: sum over the checkpoints of the mean squared difference from the first.
        num_differing: number of checkpoints that differ from the first.
        broken: names of checkpoints with values that are not finite.
        outlying: names of checkpoints with values far beyond all others.
        is_mask: True if it holds only zeros and ones in every checkpoint.
        reason_not_generated: why a differing tensor can be neither generated nor copied, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float
    squared_change: float = 0.0
    num_differing: int = 0
    broken: list[str] = field(default_factory=list)
    outlying: list[str] = field(default_factory=list)
    is_mask: bool = False
    reason_not_generated: str | None = None

    @property
    def differs(self) -> bool:
        """True if any checkpoint differs from the first."""
        return self.num_differing > 0

    @property
    def relative_change(self) -> float | None:
        """Root mean square difference from the first over differing checkpoints, or None."""
        if not self.scale or not self.num_differing:
            return None
        return (self.squared_change / self.num_differing) ** 0.5 / self.scale


@dataclass
class CheckpointSummary:
    """Summary of a set of checkpoints.

    Attributes:
        found: the checkpoints without duplicates.
        names: their names, in order.
        runs: run of each.
        tensors: tensor summaries by name.
        checkpoint_format: format of the first checkpoint.
        duplicates: checkpoints left out because another has the same values.
        samples: sampled values ``[N, S]`` of differing tensors.
        places: columns of ``samples`` that belong to each tensor.
        ties: further names of tied tensors, each with the first name.
    """

    found: FoundCheckpoints
    names: list[str]
    runs: list[int]
    tensors: dict[str, TensorSummary]
    checkpoint_format: CheckpointFormat
    duplicates: tuple[Duplicate, ...]
    samples: Tensor
    places: dict[str, slice]
    ties: dict[str, str] = field(default_factory=dict)


def summarize(
    runs: Runs,
    *,
    state_dict_key: str | None = None,
    notes: tuple[str, ...] = (),
    progress: Progress = ignore_progress,
) -> CheckpointSummary:
    """Read every checkpoint once and compare it with the first.

    Args:
        runs: checkpoints to read.
        state_dict_key: key of the state dict in a file that holds several.
        notes: sentences on how they were found.
        progress: called with the number of checkpoints read and the total.

    Returns:
        The summary; non-finite values are reported, not refused.

    Raises:
        UserError: a checkpoint cannot be read, or has other tensors or shapes than the first.
    """
    found = FoundCheckpoints(runs, notes)
    listed, finder = found.listed, DuplicateFinder(found, state_dict_key)
    base = listed[finder.order[0]]
    first, checkpoint_format = base.read(state_dict_key)
    tensors = {
        name: TensorSummary(name, tuple(one.shape), one.dtype, _scale(one), is_mask=is_binary(one))
        for name, one in first.items()
    }
    ties = TieFinder(first)
    places = _places(first)
    # allocated at once: small arrays between large temporary ones would fragment the memory
    samples = torch.zeros(len(listed), max((place.stop for place in places.values()), default=0))
    for done, row in enumerate(finder.order):
        stored = listed[row]
        read = first if done == 0 else stored.read(state_dict_key)[0]
        check_same(first, read, base, stored)
        if not finder.is_duplicate(row, read):
            ties.update(read)
            for name, tensor in read.items():
                _compare(tensors[name], first[name], tensor, stored.name)
                if name in places:
                    samples[row, places[name]] = _sample(tensor, places[name])
        progress(done + 1, len(listed))
    for name, one in tensors.items():
        if one.differs:
            one.reason_not_generated = reason_not_generated(
                name, first, first[name], is_mask=one.is_mask
            )
    kept = finder.without()
    differing = {name: place for name, place in places.items() if tensors[name].differs}
    columns = [samples[finder.kept, place] for place in differing.values()]
    return CheckpointSummary(
        found=kept,
        names=[stored.name for stored in kept.listed],
        runs=[number for number, run in enumerate(kept.runs) for _ in run],
        tensors=tensors,
        checkpoint_format=checkpoint_format,
        duplicates=finder.duplicates,
        samples=torch.cat(columns, 1) if columns else torch.zeros(len(kept.listed), 0),
        places=_closed_up(differing),
        ties=ties.ties,
    )


def check_same(
    first: dict[str, Tensor],
    other: dict[str, Tensor],
    first_stored: StoredCheckpoint,
    stored: StoredCheckpoint,
) -> None:
    """Refuse a checkpoint with other tensors than the first one's.

    Args:
        first: tensors of the first checkpoint.
        other: tensors of another.
        first_stored: location of the first.
        stored: location of the other.

    Raises:
        UserError: a tensor is missing in one of the two, or has another shape or type.
    """
    alone = "; all must be of one network: pass only its checkpoints, as by a pattern"
    for name in [*first, *other]:
        if name not in other or name not in first:
            has_it, lacks_it = (first_stored, stored) if name in first else (stored, first_stored)
            raise UserError(
                f"{lacks_it.path}: tensor {name!r} is missing, which {has_it.name} has{alone}"
            )
        if first[name].shape != other[name].shape:
            raise UserError(
                f"{stored.path}: tensor {name!r} has shape {list(other[name].shape)}, but "
                f"{list(first[name].shape)} in {first_stored.name}"
            )
        if first[name].dtype != other[name].dtype:
            raise UserError(
                f"{stored.path}: tensor {name!r} holds {other[name].dtype}, but "
                f"{first[name].dtype} in {first_stored.name}"
            )


def _compare(summary: TensorSummary, first: Tensor, other: Tensor, name: str) -> None:
    summary.is_mask = summary.is_mask and is_binary(other)
    if other.is_floating_point() or other.is_complex():
        finite = torch.isfinite(other)
        if not finite.all() and not is_infinite_mask(other):
            summary.broken.append(name)
        elif summary.scale and float(other.abs().max()) > OUTLYING * summary.scale:
            summary.outlying.append(name)
    if not torch.equal(first, other):
        summary.num_differing += 1
        change = (_real(other) - _real(first)).nan_to_num(0.0, 0.0, 0.0)
        summary.squared_change += float(change.square().mean())


def _scale(tensor: Tensor) -> float:
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
        return 0.0
    return float(_real(tensor).nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt())


def _real(tensor: Tensor) -> Tensor:
    """Convert values to double precision, complex ones to pairs of real ones."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _places(first: dict[str, Tensor]) -> dict[str, slice]:
    """Assign columns of samples to each floating-point tensor."""
    sizes = {
        name: _real(one).numel()
        for name, one in first.items()
        if one.is_floating_point() or one.is_complex()
    }
    most = max(SAMPLED_VALUES, FEWEST_SAMPLES // max(1, len(sizes)))
    return _closed_up({name: slice(0, min(most, size)) for name, size in sizes.items()})


def _closed_up(places: dict[str, slice]) -> dict[str, slice]:
    """Move slices together, keeping their lengths."""
    found, start = {}, 0
    for name, place in places.items():
        found[name] = slice(start, start := start + place.stop - place.start)
    return found


def _sample(tensor: Tensor, place: slice) -> Tensor:
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    return flat[evenly_spaced(len(flat), place.stop - place.start)].float()
