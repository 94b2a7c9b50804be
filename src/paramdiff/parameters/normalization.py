"""Per-tensor and per-coordinate normalization of parameter vectors.

The paper's code subtracts and divides two scalars per tensor, each averaged over the checkpoints:
the mean over elements and the unbiased standard deviation over elements. ``running_var`` tensors
are first mapped to ``log(v / m + 0.05)``, with ``m`` 0.95 times the mean over elements. The
inverse clips at 0.001, so that variances stay positive. A constant tensor is only shifted.

This is the mode ``tensor``. It loses values that are small within their layer: a variance of a
thousandth of the layer's mean, or an input's mean of 0.01 beside one of 10,000. The mode
``centered`` keeps its scales, and so the relative weight of tensors, but shifts every coordinate
by its own mean over the checkpoints and divides every variance by the smallest of its own channel
(or a thousandth of the channel's mean, if larger).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.memmap import free_pages
from paramdiff.parameters.layout import ParameterLayout, Slot
from paramdiff.parameters.parameter_settings import NormalizationMode

_LOG_OFFSET = 0.05
_SMALLEST_RATIO = 0.001
_MEAN_FACTOR = 0.95
_SMALLEST_SHARE = 0.001
_ROUNDED_AWAY = 0.3
"""Maximum rounding error, as a share of an element's changes between checkpoints."""
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Normalization:
    """Elementwise constants of the map ``(u(v) - location) / scale``.

    Attributes:
        location: ``[P]``.
        scale: ``[P]``, positive.
        reference: ``[P]``; ``m`` for elements in the log domain, 0 elsewhere.
    """

    location: Tensor
    scale: Tensor
    reference: Tensor

    def apply(self, vectors: Tensor) -> Tensor:
        """Normalize raw values ``[..., P]``."""
        return (self._to_domain(vectors) - self.location) / self.scale

    def invert(self, normalized: Tensor) -> Tensor:
        """Restore raw values ``[..., P]`` from normalized ones."""
        values = normalized * self.scale + self.location
        is_log = self.reference > 0
        if not is_log.any():
            return values
        ratio = (values.clamp(max=80.0).exp() - _LOG_OFFSET).clamp(min=_SMALLEST_RATIO)
        return torch.where(is_log, ratio * self.reference, values)

    def _to_domain(self, vectors: Tensor) -> Tensor:
        is_log = self.reference > 0
        if not is_log.any():
            return vectors
        safe = torch.where(is_log, self.reference, torch.ones_like(self.reference))
        logs = torch.log((vectors / safe).clamp(min=0.0) + _LOG_OFFSET)
        return torch.where(is_log, logs, vectors)


def fit_normalization(
    vectors: Tensor, layout: ParameterLayout, mode: NormalizationMode = "tensor"
) -> Normalization:
    """Fit the constants to a set of checkpoints, one tensor at a time.

    Args:
        vectors: raw parameter vectors ``[N, P]``, possibly memory-mapped.
        layout: position of each tensor.
        mode: ``tensor`` for one location and scale per tensor (as the authors'
            ``dataset/__init__.py``), ``centered`` for one scale per tensor about each element's
            own mean, ``coordinate`` for one location and scale per element.

    Returns:
        The normalization, in the layout's type.
    """
    parts = [_fit_slot(vectors[:, slot.start : slot.stop], slot, mode) for slot in layout.slots]
    columns = (torch.cat(column).to(layout.dtype) for column in zip(*parts, strict=True))
    return Normalization(*columns)


def fit_for_comparison(vectors: Tensor, layout: ParameterLayout) -> Normalization:
    """Fit the mode ``tensor``, and ``centered`` for tensors with which it is lossy.

    Groups of networks are made and compared in this space: the paper's, except for tensors that
    it does not reproduce.

    Args:
        vectors: raw parameter vectors ``[N, P]``, possibly memory-mapped.
        layout: position of each tensor.

    Returns:
        The normalization.
    """
    parts = []
    for slot in layout.slots:
        values = vectors[:, slot.start : slot.stop]
        parts.append(_fit_slot(values, slot, "centered" if _is_lossy(values, slot) else "tensor"))
    columns = (torch.cat(column).to(layout.dtype) for column in zip(*parts, strict=True))
    return Normalization(*columns)


def _is_lossy(values: Tensor, slot: Slot) -> bool:
    """Check if small values of a layer are lost by clipping or rounding."""
    if slot.is_running_variance:
        return _loses_variances(values)
    if values.shape[1] > _BLOCK_VALUES:
        return False
    none = torch.zeros(1, 1, dtype=torch.float64)
    means, changes = _moments_by(1, values, none)
    rounding = torch.finfo(torch.float32).eps * (means - means.mean()).abs()
    return bool(((changes > 0) & (rounding > _ROUNDED_AWAY * changes)).any())


def _loses_variances(values: Tensor) -> bool:
    block = values.double()
    return bool(((block > 0) & (block < _SMALLEST_RATIO * _MEAN_FACTOR * block.mean())).any())


def lost_variances(vectors: Tensor, layout: ParameterLayout, mode: NormalizationMode) -> list[str]:
    """Name the tensors in which a normalization raises variances of the checkpoints.

    Args:
        vectors: raw parameter vectors ``[N, P]``.
        layout: position of each tensor.
        mode: mode of the normalization; only ``tensor`` does so.

    Returns:
        Their names.
    """
    lost = []
    for slot in layout.slots if mode == "tensor" else ():
        if slot.is_running_variance and _loses_variances(vectors[:, slot.start : slot.stop]):
            lost.append(slot.name)
    return lost


def _fit_slot(values: Tensor, slot: Slot, mode: NormalizationMode) -> Sequence[Tensor]:
    """Location, scale and reference in float64, each ``[size]``, of one tensor ``[N, size]``."""
    num, size = values.shape
    is_log = slot.is_running_variance and bool((values > 0).any())
    per_checkpoint = _layer_references(values) if is_log else values.new_zeros(num, 1).double()
    own = _channel_references(values) if is_log else values.new_zeros(1, size).double()
    if mode == "coordinate":
        location, scale = _moments_by(1, values, own)
        return location, _positive(scale, location), own[0].expand(size)
    means, stds = (one.mean().expand(size) for one in _moments_by(0, values, per_checkpoint))
    scale, references = _positive(stds, means), per_checkpoint.mean().expand(size)
    if mode == "tensor" and size > 1:
        return means, scale, references
    location, changes = _moments_by(1, values, own)
    if not is_log and not stds.any() and changes.any():
        # constant over elements (the authors' code has no such tensors): relative to the magnitude
        scale = _positive(values.double().square().mean().sqrt().expand(size), means.new_zeros(1))
    return (means, scale, references) if mode == "tensor" else (location, scale, own[0])


def _layer_references(values: Tensor) -> Tensor:
    """Compute the authors' ``m`` of each checkpoint, ``[N, 1]``."""
    smallest = torch.finfo(torch.float32).tiny  # a checkpoint whose variances are all 0
    return (_MEAN_FACTOR * values.double().mean(1, keepdim=True)).clamp(min=smallest)


def _channel_references(values: Tensor) -> Tensor:
    """Compute each channel's smallest variance, or a thousandth of its mean, ``[1, size]``."""
    block = values.double()
    share = _SMALLEST_SHARE * block.mean(0, keepdim=True)
    lowest = block.amin(0, keepdim=True).maximum(share)
    return lowest.clamp(min=torch.finfo(torch.float32).tiny)  # a channel that never varies


def _moments_by(along: int, values: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each checkpoint (``along`` 0) or of each element (1)."""
    # blocks hold whole checkpoints for moments over elements, else whole coordinates
    length = max(1, _BLOCK_VALUES // values.shape[1 - along])
    blocks = zip(
        values.split(length, along), references.expand_as(values).split(length, along), strict=True
    )
    means, stds = zip(*(_moments(*block, 1 - along) for block in blocks), strict=True)
    return torch.cat(means), torch.cat(stds)


def _positive(scale: Tensor, location: Tensor) -> Tensor:
    """Replace the scale of constant tensors by 1."""
    constant = scale <= 1e-12 * (1 + location.abs())
    return torch.where(constant, torch.ones_like(scale), scale)


def _moments(values: Tensor, references: Tensor, over: int) -> tuple[Tensor, Tensor]:
    """Compute mean and deviation in float64, in the log domain if references are given."""
    block = values.double()
    if references.any():
        block = torch.log((block / references).clamp(min=0.0) + _LOG_OFFSET)
    mean = block.mean(over)
    std = block.std(over) if block.shape[over] > 1 else torch.zeros_like(mean)
    free_pages(values)
    return mean, std
