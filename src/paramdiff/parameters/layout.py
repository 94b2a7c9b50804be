"""The layout of a parameter vector: the position of each selected tensor.

Tensors are flattened and concatenated in state-dict order (paper's code, "granularity 0"); a
complex number is two elements. ``checkpoints/tensor_kinds.py`` defines the tensors that can be
part of the vector. A tensor with several names lies in the vector once.
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
    """The position of a tensor: elements ``start`` to ``stop`` of the vector."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int

    @property
    def stop(self) -> int:
        """Index after the last element."""
        return self.start + math.prod(self.shape) * (2 if self.dtype.is_complex else 1)

    @property
    def is_running_variance(self) -> bool:
        """True for tensors normalized in the log domain (paper's code: ``running_var``)."""
        return _RUNNING_VARIANCE.search(self.name) is not None

    def values(self, tensor: Tensor) -> Tensor:
        """Flatten a tensor to real numbers ``[size]``."""
        real = torch.view_as_real(tensor.resolve_conj()) if self.dtype.is_complex else tensor
        return real.reshape(-1)

    def tensor(self, values: Tensor) -> Tensor:
        """Restore a tensor's shape and type from real numbers ``[size]``.

        Values beyond the largest of the type are clipped to it, with a warning.
        """
        real = self.dtype.to_real()
        largest = torch.finfo(real).max
        if largest < torch.finfo(values.dtype).max:
            num_beyond = int((values.abs() > largest).sum())  # false for NaN, which stays
            if num_beyond:
                warnings.warn(
                    f"{num_beyond} values of {self.name} lie beyond {largest:.3g}, the largest of "
                    f"{str(real).removeprefix('torch.')}, and are clipped to it",
                    stacklevel=2,
                )
                values = values.clamp(-largest, largest)
        if not self.dtype.is_complex:
            return values.view(self.shape).to(real)
        # cloned: torch requires an even storage offset
        return torch.view_as_complex(values.reshape(*self.shape, 2).to(real).clone())


@dataclass(frozen=True)
class ParameterLayout:
    """The slots of all selected tensors, in order; ``P`` elements in total.

    Attributes:
        slots: positions of the tensors.
        ties: further names of tied tensors, each with the name in ``slots``.
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
        """Make the layout of the named tensors.

        Args:
            state_dict: name to tensor; tensors that share memory are tied.
            names: selected names; tensors that cannot be generated get no slot.
            ties: further names of tied tensors, each with the first name.

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
                f"nothing to generate: the selected tensors ({', '.join(names)}) hold only "
                "integers, counters or masks, which are copied"
            )
        return cls(tuple(slots), tuple(tied))

    @property
    def num_parameters(self) -> int:
        """``P``, the length of the vector."""
        return self.slots[-1].stop

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors in the vector, including all names of tied ones."""
        return (*(slot.name for slot in self.slots), *(name for name, _ in self.ties))

    @property
    def dtype(self) -> torch.dtype:
        """float32, or float64 if a tensor needs it for an exact round trip."""
        has_double = any(slot.dtype.to_real() == torch.float64 for slot in self.slots)
        return torch.float64 if has_double else torch.float32

    def flatten(self, state_dict: Mapping[str, Tensor], where: str = "state dict") -> Tensor:
        """Flatten a state dict to its parameter vector.

        Args:
            state_dict: name to tensor; other names are ignored.
            where: name of the state dict in an error.

        Returns:
            ``[P]``.

        Raises:
            UserError: a tensor is missing, has another shape or non-finite values, or differs from
                one that it is tied to.
        """
        parts = []
        for slot in self.slots:
            tensor = state_dict.get(slot.name)
            if tensor is None:
                raise UserError(f"{where}: tensor {slot.name!r} is missing")
            if tuple(tensor.shape) != slot.shape:
                raise UserError(
                    f"{where}: tensor {slot.name!r} has shape {list(tensor.shape)}, "
                    f"not {list(slot.shape)}"
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
                    f"{where}: tensor {name!r} differs from {source!r}, to which it is tied in "
                    "the other checkpoints"
                )
        return torch.cat(parts)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Restore the tensors of a vector, in their own shapes and types.

        Args:
            vector: ``[P]``.

        Returns:
            Name to tensor; views of the vector if the type is the same. Tied names share one
            object.
        """
        assert vector.shape == (self.num_parameters,), (vector.shape, self.num_parameters)
        tensors = {slot.name: slot.tensor(vector[slot.start : slot.stop]) for slot in self.slots}
        return tensors | {name: tensors[source] for name, source in self.ties}

    def complete(self, vector: Tensor, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Complete a vector to a whole state dict.

        Args:
            vector: ``[P]``.
            base: complete state dict that provides the tensors outside the layout.

        Returns:
            Copies, in the base's order and types; tied tensors are one object.
        """
        copies: dict[int, Tensor] = {}  # tied tensors are copied once
        own = {
            name: copies.setdefault(id(tensor), tensor.clone())
            for name, tensor in self.unflatten(vector.cpu()).items()
        }
        return {name: own[name] if name in own else base[name].clone() for name in base}

    def to_json(self) -> list[list]:
        """List the slots as ``[name, shape, dtype]`` in order (JSON objects lose their order)."""
        return [[s.name, list(s.shape), str(s.dtype).removeprefix("torch.")] for s in self.slots]

    @classmethod
    def from_json(
        cls, rows: Sequence[Sequence], ties: Sequence[Sequence[str]] = ()
    ) -> "ParameterLayout":
        """Make a layout from the output of ``to_json`` and ties."""
        slots: list[Slot] = []
        for name, shape, dtype in rows:
            start = slots[-1].stop if slots else 0
            slots.append(Slot(name, tuple(shape), GENERATED_TYPES[dtype], start))
        return cls(tuple(slots), tuple((name, source) for name, source in ties))


def _memory(tensor: Tensor) -> tuple:
    """Identify a tensor's memory, also on the meta device."""
    place = tensor.untyped_storage()._cdata, tensor.storage_offset()
    return (*place, tensor.dtype, tuple(tensor.shape), tensor.stride())
