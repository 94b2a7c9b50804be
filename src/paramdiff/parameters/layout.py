"""Where each selected tensor lies in the parameter vector.

Tensors are flattened and concatenated in state-dict order (paper's code, "granularity 0"); a
complex number is two elements. Which tensors can be part of the vector: ``checkpoints/kinds.py``.
A tensor that stands under several names lies in the vector once.
"""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.checkpoints.tensor_kinds import GENERATED_TYPES, is_generated, is_infinite_mask
from paramdiff.errors import UserError

_RUNNING_VARIANCE = re.compile(r"(running|moving)_var(iance)?")


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
        return self.start + math.prod(self.shape) * (2 if self.dtype.is_complex else 1)

    @property
    def is_running_variance(self) -> bool:
        """Whether the tensor is normalized in the log domain (paper's code: ``running_var``)."""
        return _RUNNING_VARIANCE.search(self.name) is not None

    def values(self, tensor: Tensor) -> Tensor:
        """A tensor's real numbers ``[size]``."""
        real = torch.view_as_real(tensor.resolve_conj()) if self.dtype.is_complex else tensor
        return real.reshape(-1)

    def tensor(self, values: Tensor) -> Tensor:
        """The tensor of real numbers ``[size]``, in its own shape and type.

        Values beyond the type's largest become that, and a warning says how many.
        """
        real = self.dtype.to_real()
        largest = torch.finfo(real).max
        if largest < torch.finfo(values.dtype).max:
            num_beyond = int((values.abs() > largest).sum())  # false of NaN, which stays
            if num_beyond:
                warnings.warn(
                    f"{num_beyond} values of {self.name} lie beyond {largest:.3g}, the largest of "
                    f"{str(real).removeprefix('torch.')}, and become that",
                    stacklevel=2,
                )
                values = values.clamp(-largest, largest)
        if not self.dtype.is_complex:
            return values.view(self.shape).to(real)
        # of memory of its own: torch wants it to begin at an even place
        return torch.view_as_complex(values.reshape(*self.shape, 2).to(real).clone())


@dataclass(frozen=True)
class ParameterLayout:
    """The slots of all selected tensors, in order; ``P`` elements in all.

    Attributes:
        slots: of the tensors.
        ties: further names of tensors that have a slot, with the name of that.
    """

    slots: tuple[Slot, ...]
    ties: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        state_dict: Mapping[str, Tensor],
        names: Sequence[str],
        ties: Mapping[str, str] | None = None,
    ) -> "ParameterLayout":
        """The layout of the named tensors.

        Args:
            state_dict: name to tensor; tensors that share their memory are one.
            names: the selected names; those that cannot be generated get no slot.
            ties: further names of tensors, each with the first name of the same tensor.

        Returns:
            The layout.

        Raises:
            UserError: no selected tensor can be generated.
        """
        slots: list[Slot] = []
        tied: list[tuple[str, str]] = []
        named: dict[tuple, str] = {}
        start = 0
        for name in names:
            tensor = state_dict[name]
            if not is_generated(name, tensor) or is_infinite_mask(tensor):
                continue
            source = named.setdefault(_memory(tensor), name)
            source = (ties or {}).get(name, source)
            if source != name and any(slot.name == source for slot in slots):
                tied.append((name, source))
                continue
            slots.append(Slot(name, tuple(tensor.shape), tensor.dtype, start))
            start = slots[-1].stop
        if not slots:
            raise UserError(
                f"nothing to generate: the selected tensors ({', '.join(names)}) hold integers, "
                "counters or masks, which are copied"
            )
        return cls(tuple(slots), tuple(tied))

    @property
    def num_parameters(self) -> int:
        """``P``, the length of the vector."""
        return self.slots[-1].stop

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors in the vector, tied ones under every name."""
        return (*(slot.name for slot in self.slots), *(name for name, _ in self.ties))

    @property
    def dtype(self) -> torch.dtype:
        """float32, or float64 where a tensor needs it to survive the round trip exactly."""
        has_double = any(slot.dtype.to_real() == torch.float64 for slot in self.slots)
        return torch.float64 if has_double else torch.float32

    def flatten(self, state_dict: Mapping[str, Tensor], where: str = "state dict") -> Tensor:
        """The parameter vector of a state dict.

        Args:
            state_dict: name to tensor; further names are ignored.
            where: how to name the state dict in an error.

        Returns:
            ``[P]``.

        Raises:
            UserError: a tensor is missing, has another shape, is not finite, or is two where it
                should be one.
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
            parts.append(slot.values(tensor.detach()).to(self.dtype))
        for name, source in self.ties:
            if name in state_dict and not torch.equal(state_dict[name], state_dict[source]):
                raise UserError(
                    f"{where}: tensor {name!r} differs from {source!r}, which it equals in the "
                    "other checkpoints: they are one tensor there"
                )
        return torch.cat(parts)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """The tensors of a vector, in their own shapes and types.

        Args:
            vector: ``[P]``.

        Returns:
            Name to tensor; views of the vector where the type is the same. What is tied is the
            same object under each name.
        """
        assert vector.shape == (self.num_parameters,), (vector.shape, self.num_parameters)
        tensors = {slot.name: slot.tensor(vector[slot.start : slot.stop]) for slot in self.slots}
        return tensors | {name: tensors[source] for name, source in self.ties}

    def to_json(self) -> list[list]:
        """The slots as ``[name, shape, dtype]`` in order (JSON objects lose their order)."""
        return [[s.name, list(s.shape), str(s.dtype).removeprefix("torch.")] for s in self.slots]

    @classmethod
    def from_json(
        cls, rows: Sequence[Sequence], ties: Sequence[Sequence[str]] = ()
    ) -> "ParameterLayout":
        """The layout of the slots that ``to_json`` gave, and of ties."""
        slots: list[Slot] = []
        for name, shape, dtype in rows:
            start = slots[-1].stop if slots else 0
            slots.append(Slot(name, tuple(shape), GENERATED_TYPES[dtype], start))
        return cls(tuple(slots), tuple((name, source) for name, source in ties))


def _memory(tensor: Tensor) -> tuple:
    """Equal for tensors that are one place in memory, also where that holds no values."""
    place = tensor.untyped_storage()._cdata, tensor.storage_offset()
    return (*place, tensor.dtype, tuple(tensor.shape), tensor.stride())
