"""Where each selected tensor lies in the parameter vector.

Tensors are flattened and concatenated in state-dict order (paper's code, "granularity 0").
Tensors that carry no learnable direction are not part of the vector and are copied from the base
checkpoint: integer tensors, tensors with one element, and ``num_batches_tracked``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.errors import UserError

_FLOATING = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}


@dataclass(frozen=True)
class Slot:
    """One tensor's place: elements ``start`` to ``stop`` of the vector."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int

    @property
    def stop(self) -> int:
        """The element after the last."""
        return self.start + math.prod(self.shape)

    @property
    def is_running_variance(self) -> bool:
        """Whether the tensor is normalised in the log domain (paper's code)."""
        return "running_var" in self.name


@dataclass(frozen=True)
class ParameterLayout:
    """The slots of all selected tensors, in order; ``P`` elements in all."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, state_dict: Mapping[str, Tensor], names: Sequence[str]) -> "ParameterLayout":
        """The layout of the named tensors.

        Args:
            state_dict: name to tensor.
            names: the selected names; those that are copied verbatim get no slot.

        Returns:
            The layout.

        Raises:
            UserError: no selected tensor can be generated.
        """
        slots: list[Slot] = []
        start = 0
        for name in names:
            tensor = state_dict[name]
            if is_copied_verbatim(name, tensor):
                continue
            slots.append(Slot(name, tuple(tensor.shape), tensor.dtype, start))
            start = slots[-1].stop
        if not slots:
            raise UserError(
                f"nothing to generate: the selected tensors ({', '.join(names)}) are integer, "
                "one-element or num_batches_tracked tensors, which are copied"
            )
        return cls(tuple(slots))

    @property
    def num_parameters(self) -> int:
        """``P``, the length of the vector."""
        return self.slots[-1].stop

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors in the vector."""
        return tuple(slot.name for slot in self.slots)

    @property
    def dtype(self) -> torch.dtype:
        """float32, or float64 where a tensor needs it to survive the round trip exactly."""
        has_double = any(slot.dtype == torch.float64 for slot in self.slots)
        return torch.float64 if has_double else torch.float32

    def flatten(self, state_dict: Mapping[str, Tensor], where: str = "state dict") -> Tensor:
        """The parameter vector of a state dict.

        Args:
            state_dict: name to tensor; further names are ignored.
            where: how to name the state dict in an error.

        Returns:
            ``[P]``.

        Raises:
            UserError: a tensor is missing, has another shape, or is not finite.
        """
        parts = []
        for slot in self.slots:
            tensor = state_dict.get(slot.name)
            if tensor is None:
                raise UserError(f"{where}: tensor {slot.name!r} is missing")
            if tuple(tensor.shape) != slot.shape:
                raise UserError(
                    f"{where}: tensor {slot.name!r} has shape {list(tensor.shape)}, "
                    f"expected {list(slot.shape)}"
                )
            if not torch.isfinite(tensor).all():
                bad = int((~torch.isfinite(tensor)).sum())
                raise UserError(
                    f"{where}: tensor {slot.name!r} holds {bad} NaN or infinite values"
                )
            parts.append(tensor.detach().reshape(-1).to(self.dtype))
        return torch.cat(parts)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """The tensors of a vector, in their own shapes and types.

        Args:
            vector: ``[P]``.

        Returns:
            Name to tensor; views of the vector where the type is the same.
        """
        assert vector.shape == (self.num_parameters,), (vector.shape, self.num_parameters)
        return {
            slot.name: vector[slot.start : slot.stop].view(slot.shape).to(slot.dtype)
            for slot in self.slots
        }

    def to_json(self) -> list[list]:
        """The slots as ``[name, shape, dtype]`` in order (JSON objects lose their order)."""
        return [[s.name, list(s.shape), str(s.dtype).removeprefix("torch.")] for s in self.slots]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence]) -> "ParameterLayout":
        """The layout that ``to_json`` wrote."""
        slots: list[Slot] = []
        for name, shape, dtype in rows:
            start = slots[-1].stop if slots else 0
            slots.append(Slot(name, tuple(shape), _FLOATING[dtype], start))
        return cls(tuple(slots))


def is_copied_verbatim(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is taken from the base checkpoint rather than generated (paper's code)."""
    is_known = tensor.dtype in _FLOATING.values()
    return "num_batches_tracked" in name or tensor.numel() <= 1 or not is_known
