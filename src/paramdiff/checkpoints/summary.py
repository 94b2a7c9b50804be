"""A look at a set of checkpoints: what differs between them, and what is wrong with them.

One checkpoint is in memory at a time, beside the first, with which every other is compared.
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
"""Of each tensor, evenly spaced: enough to see the order of a trajectory."""

FEWEST_SAMPLES = 2048
"""Of all tensors together, where there are so many: enough to see what two networks share."""

OUTLYING = 1e6
"""A value this many times its tensor's root mean square in the first checkpoint is told."""


@dataclass
class TensorSummary:
    """One tensor, over all checkpoints.

    Attributes:
        name: in the state dict.
        shape: of the tensor.
        dtype: in the first checkpoint.
        scale: root mean square of the first checkpoint's values.
        squared_change: sum over the checkpoints of the mean squared difference from the first.
        num_differing: checkpoints that differ from the first.
        broken: names of checkpoints with values that are not finite.
        outlying: names of checkpoints with values far beyond all others.
        is_mask: whether it holds zeros and ones alone in every checkpoint.
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
        """Whether any checkpoint differs from the first."""
        return self.num_differing > 0

    @property
    def relative_change(self) -> float | None:
        """Root mean square difference from the first, over those that differ; None at scale 0."""
        if not self.scale or not self.num_differing:
            return None
        return (self.squared_change / self.num_differing) ** 0.5 / self.scale


@dataclass
class CheckpointSummary:
    """A set of checkpoints.

    Attributes:
        found: the checkpoints, copies aside.
        names: of the checkpoints, in order.
        runs: the run of each.
        tensors: by name.
        checkpoint_format: how the first is stored.
        copies: what was left out, because another checkpoint holds its values.
        samples: sampled values ``[N, S]`` of tensors that differ.
        places: where each of these tensors lies in a row.
        ties: further names of tensors that are one in all checkpoints, with their first name.
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
        runs: what to read.
        state_dict_key: the key of the state dict, where a file holds several.
        notes: on how these were found.
        progress: told how many checkpoints are read, and how many there are.

    Returns:
        What was found; values that are not finite are found, not refused.

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
    # one array from the start: small ones between large ones that go would keep their memory
    samples = torch.zeros(len(listed), max((place.stop for place in places.values()), default=0))
    for done, row in enumerate(finder.order):
        stored = listed[row]
        read = first if done == 0 else stored.read(state_dict_key)[0]
        check_same(first, read, base, stored)
        if not finder.is_duplicate(row, read):
            ties.see(read)
            for name, tensor in read.items():
                _compare(tensors[name], first[name], tensor, stored.name)
                if name in places:
                    samples[row, places[name]] = _sample(tensor, places[name])
        progress(done + 1, len(listed))
    for name, told in tensors.items():
        if told.differs:
            told.reason_not_generated = reason_not_generated(
                name, first, first[name], is_mask=told.is_mask
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
        first: tensors of the first.
        other: tensors of another.
        first_stored: where the first lies.
        stored: where the other lies.

    Raises:
        UserError: a tensor is missing in one of the two, or has another shape or type.
    """
    alone = "; all must be of one network: name its checkpoints alone, as by a pattern"
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


def _compare(told: TensorSummary, first: Tensor, other: Tensor, name: str) -> None:
    told.is_mask = told.is_mask and is_binary(other)
    if other.is_floating_point() or other.is_complex():
        finite = torch.isfinite(other)
        if not finite.all() and not is_infinite_mask(other):
            told.broken.append(name)
        elif told.scale and float(other.abs().max()) > OUTLYING * told.scale:
            told.outlying.append(name)
    if not torch.equal(first, other):
        told.num_differing += 1
        change = (_real(other) - _real(first)).nan_to_num(0.0, 0.0, 0.0)
        told.squared_change += float(change.square().mean())


def _scale(tensor: Tensor) -> float:
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
        return 0.0
    return float(_real(tensor).nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt())


def _real(tensor: Tensor) -> Tensor:
    """The values in double precision, complex ones as two real ones."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _places(first: dict[str, Tensor]) -> dict[str, slice]:
    """Where the samples of each floating-point tensor lie in a row of all."""
    sizes = {
        name: _real(one).numel()
        for name, one in first.items()
        if one.is_floating_point() or one.is_complex()
    }
    most = max(SAMPLED_VALUES, FEWEST_SAMPLES // max(1, len(sizes)))
    return _closed_up({name: slice(0, min(most, size)) for name, size in sizes.items()})


def _closed_up(places: dict[str, slice]) -> dict[str, slice]:
    """The same lengths, one after the other."""
    found, start = {}, 0
    for name, place in places.items():
        found[name] = slice(start, start := start + place.stop - place.start)
    return found


def _sample(tensor: Tensor, place: slice) -> Tensor:
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    return flat[evenly_spaced(len(flat), place.stop - place.start)].float()
