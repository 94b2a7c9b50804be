"""Per-tensor and per-coordinate normalisation of parameter vectors.

The paper's code subtracts and divides two scalars per tensor, each averaged over the checkpoints:
the mean over elements and the unbiased standard deviation over elements. ``running_var`` tensors
are first taken to ``log(v / m + 0.05)``, where ``m`` is 0.95 times the mean over elements. The
inverse clips at 0.001, so that variances stay positive. A constant tensor is only shifted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from paramdiff.mapped import release
from paramdiff.parameters.layout import ParameterLayout, Slot

NormalisationMode = Literal["tensor", "coordinate"]

_LOG_OFFSET = 0.05
_SMALLEST_RATIO = 0.001
_MEAN_FACTOR = 0.95
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Normalisation:
    """Elementwise constants of the map ``(u(v) - location) / scale``.

    Attributes:
        location: ``[P]``.
        scale: ``[P]``, positive.
        reference: ``[P]``; ``m`` where the element is taken to the log domain, 0 elsewhere.
    """

    location: Tensor
    scale: Tensor
    reference: Tensor

    def apply(self, vectors: Tensor) -> Tensor:
        """Raw values ``[..., P]`` to normalised values ``[..., P]``."""
        return (self._to_domain(vectors) - self.location) / self.scale

    def invert(self, normalised: Tensor) -> Tensor:
        """Normalised values ``[..., P]`` to raw values ``[..., P]``."""
        values = normalised * self.scale + self.location
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


def fit_normalisation(
    vectors: Tensor, layout: ParameterLayout, mode: NormalisationMode = "tensor"
) -> Normalisation:
    """Fit the constants to a set of checkpoints, one tensor at a time.

    Args:
        vectors: raw parameter vectors ``[N, P]``, possibly memory-mapped.
        layout: where each tensor lies.
        mode: ``tensor`` for one location and scale per tensor (as the authors'
            ``dataset/__init__.py``), ``coordinate`` for one per element.

    Returns:
        The normalisation.
    """
    parts = [_fit_slot(vectors[:, slot.start : slot.stop], slot, mode) for slot in layout.slots]
    location, scale, reference = (torch.cat(column) for column in zip(*parts, strict=True))
    return Normalisation(location, scale, reference)


def _fit_slot(values: Tensor, slot: Slot, mode: NormalisationMode) -> Sequence[Tensor]:
    """Location, scale and reference, each ``[size]``, of one tensor's values ``[N, size]``."""
    num, size = values.shape
    references = torch.zeros(num, 1, dtype=torch.float64)
    if slot.is_running_variance and (values > 0).any():
        smallest = torch.finfo(torch.float32).tiny  # a checkpoint whose variances are all 0
        references = (_MEAN_FACTOR * values.double().mean(1, keepdim=True)).clamp(min=smallest)
    # blocks hold whole checkpoints where moments are over elements, else whole coordinates
    along, over = (0, 1) if mode == "tensor" else (1, 0)
    length = max(1, _BLOCK_VALUES // values.shape[over])
    blocks = zip(
        values.split(length, along), references.expand_as(values).split(length, along), strict=True
    )
    means, stds = zip(*(_moments(*block, over) for block in blocks), strict=True)
    location, scale = torch.cat(means), torch.cat(stds)
    if mode == "tensor":
        location, scale = (one.mean().expand(size) for one in (location, scale))
    constant = scale <= 1e-12 * (1 + location.abs())
    scale = torch.where(constant, torch.ones_like(scale), scale)
    return location.float(), scale.float(), references.mean().expand(size).float()


def _moments(values: Tensor, references: Tensor, over: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation in float64, in the log domain where there are references."""
    block = values.double()
    if references.any():
        block = torch.log((block / references).clamp(min=0.0) + _LOG_OFFSET)
    mean = block.mean(over)
    std = block.std(over) if block.shape[over] > 1 else torch.zeros_like(mean)
    release(values)
    return mean, std
