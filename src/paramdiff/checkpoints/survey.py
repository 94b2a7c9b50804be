"""A look at a set of checkpoints: what differs between them, and what is wrong with them.

One checkpoint is in memory at a time, beside the first, with which every other is compared.
"""

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paramdiff.checkpoints.kinds import TieFinder, is_binary, is_infinite_mask, why_not
from paramdiff.checkpoints.sources import Runs
from paramdiff.checkpoints.stored import StoredCheckpoint, StoredForm
from paramdiff.errors import UserError
from paramdiff.progress import Progress, ignore_progress
from paramdiff.subsampling import evenly_spaced

SAMPLED_VALUES = 16
"""Of each tensor, evenly spaced: enough to see the order of a trajectory."""

OUTLYING = 1e6
"""A value this many times its tensor's root mean square in the first checkpoint is told."""


@dataclass
class SurveyedTensor:
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
        why_not: where it differs, why it can be neither generated nor copied; None where it can.
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
    why_not: str | None = None

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
class Survey:
    """A set of checkpoints.

    Attributes:
        names: of the checkpoints, in order.
        runs: the run of each.
        tensors: by name.
        form: how the first is stored.
        duplicates: names of checkpoints with equal tensors, the first of them first.
        samples: sampled values ``[N, S]`` of tensors that differ.
        ties: further names of tensors that are one in all checkpoints, with their first name.
    """

    names: list[str]
    runs: list[int]
    tensors: dict[str, SurveyedTensor]
    form: StoredForm
    duplicates: list[tuple[str, ...]]
    samples: Tensor
    ties: dict[str, str] = field(default_factory=dict)


def survey(
    runs: Runs,
    *,
    entry: str | None = None,
    progress: Progress = ignore_progress,
) -> Survey:
    """Read every checkpoint once and compare it with the first.

    Args:
        runs: what to read.
        entry: the key of the state dict, where a file holds several.
        progress: told how many checkpoints are read, and how many there are.

    Returns:
        What was found; values that are not finite are found, not refused.

    Raises:
        UserError: a checkpoint cannot be read, or has other tensors or shapes than the first.
    """
    listed = [(number, one) for number, run in enumerate(runs) for one in run]
    first, form = listed[0][1].read(entry)
    tensors = {
        name: SurveyedTensor(
            name, tuple(one.shape), one.dtype, _scale(one), is_mask=is_binary(one)
        )
        for name, one in first.items()
    }
    finder = TieFinder(first)
    places = _places(first)
    # one array from the start: small ones between large ones that go would keep their memory
    samples = torch.zeros(len(listed), max((place.stop for place in places.values()), default=0))
    alike: dict[bytes, list[str]] = {}
    for done, (_, stored) in enumerate(listed):
        found = first if done == 0 else stored.read(entry)[0]
        check_same(first, found, listed[0][1], stored)
        finder.see(found)
        digest = hashlib.sha256()
        for name, tensor in found.items():
            _compare(tensors[name], first[name], tensor, stored.name)
            if name in places:
                samples[done, places[name]] = _sample(tensor)
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        alike.setdefault(digest.digest(), []).append(stored.name)
        progress(done + 1, len(listed))
    for name, told in tensors.items():
        if told.differs:
            told.why_not = why_not(name, first, first[name], is_mask=told.is_mask)
    columns = [samples[:, place] for name, place in places.items() if tensors[name].differs]
    return Survey(
        names=[stored.name for _, stored in listed],
        runs=[number for number, _ in listed],
        tensors=tensors,
        form=form,
        duplicates=[tuple(names) for names in alike.values() if len(names) > 1],
        samples=torch.cat(columns, 1) if columns else torch.zeros(len(listed), 0),
        ties=finder.ties,
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
    for name in [*first, *other]:
        if name not in other or name not in first:
            has_it, lacks_it = (first_stored, stored) if name in first else (stored, first_stored)
            raise UserError(
                f"{lacks_it.path}: tensor {name!r} is missing, which {has_it.name} has"
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


def _compare(told: SurveyedTensor, first: Tensor, other: Tensor, name: str) -> None:
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
    places, start = {}, 0
    for name, tensor in first.items():
        if tensor.is_floating_point() or tensor.is_complex():
            stop = start + min(SAMPLED_VALUES, _real(tensor).numel())
            places[name] = slice(start, stop)
            start = stop
    return places


def _sample(tensor: Tensor) -> Tensor:
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).reshape(-1)
    rows = evenly_spaced(len(flat), SAMPLED_VALUES)
    return flat[rows].float()
