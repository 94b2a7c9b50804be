"""Examples by their row numbers: a tensor, or images that are decoded when they are asked for.

``Inputs`` is all that training and scoring need of examples, so that a set which does not fit in
memory is never held whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Inputs(Protocol):
    """Examples ``[E, ...]``; a float tensor satisfies it."""

    def __len__(self) -> int:
        """``E``."""

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        """Read the examples of some rows (int64 ``[B]``, or a slice) as floats ``[B, ...]``."""


@dataclass(frozen=True)
class JoinedInputs:
    """The examples of one split and then those of another, as one."""

    first: Inputs
    second: Inputs

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        numbers = torch.arange(len(self))[rows]
        is_second = numbers >= len(self.first)
        if is_second.all() and len(numbers):
            return self.second[numbers - len(self.first)]
        found = self.first[numbers[~is_second]]
        if not is_second.any():
            return found
        joined = found.new_empty(len(numbers), *found.shape[1:])
        joined[~is_second] = found
        joined[is_second] = self.second[numbers[is_second] - len(self.first)]
        return joined


def join(first: Inputs, second: Inputs) -> Inputs:
    """Join the examples of two splits as one; two tensors give a tensor."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    return JoinedInputs(first, second)


def batches(
    inputs: Inputs, size: int, start: int = 0, stop: int | None = None
) -> Iterator[Tensor]:
    """Yield examples in order.

    Args:
        inputs: the examples.
        size: of a batch; the last may be smaller.
        start: the first row.
        stop: the row after the last; the end by default.

    Yields:
        Tensors ``[B, ...]``.
    """
    stop = len(inputs) if stop is None else stop
    for row in range(start, stop, size):
        yield inputs[row : min(row + size, stop)]
