"""The frozen prefix of a network, run once per example, and its outputs, kept.

Networks that differ only in a few tensors share every activation before the first of them. The
network is split there (``scoring/split.py``); the outputs of the prefix are computed once and kept
if they fit the memory budget. Scoring reads them in order, training row by row.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.torch_version import TorchVersion
from torch.utils import _pytree as pytree

from paramdiff.progress import Progress, ignore_progress
from paramdiff.scoring.inputs import Inputs, batches
from paramdiff.scoring.split import Cut, cut

MEMORY_BUDGET = 2**30
"""Maximum size in bytes of the outputs that are kept."""
BATCH_SIZE = 500
NUM_CHECKED = 4
"""Examples that check the split and measure the size of the prefix's outputs."""
ROW_TOLERANCE = 1e-4  # between batches of two sizes
_GROUP_NORM_CRASHES = TorchVersion(torch.__version__) < "2.14"
"""On a CPU its gradient ends the process: channels last, and an input that needs no gradient."""


class PrefixCache:
    """The frozen prefix of a network on fixed examples, and its outputs.

    Args:
        network: the network in evaluation mode, with the values of its frozen tensors. It is
            brought into the fastest memory layout, and otherwise not changed.
        names: the tensors (parameters or buffers) that vary.
        inputs: the examples ``[E, ...]``; read batch by batch.
        device: the network's.
        memory_budget: bytes that the outputs may take.
        batch_size: examples in one call of the prefix; fewer if memory is short.
        has_gradients: if gradients are taken through the suffix.
        num_checked: examples that check the split and measure the outputs.

    Attributes:
        cut: the network in two parts, and why nothing is shared if so.
        batch_size: examples in one batch.
        example: the outputs for the first batch, of at most ``num_checked`` examples.
        chunks: the rows whose outputs fit the budget together; one range if all of them do.
    """

    def __init__(
        self,
        network: nn.Module,
        names: Sequence[str],
        inputs: Inputs,
        *,
        device: torch.device,
        memory_budget: int = MEMORY_BUDGET,
        batch_size: int = BATCH_SIZE,
        has_gradients: bool = False,
        num_checked: int = NUM_CHECKED,
    ) -> None:
        self._inputs, self._device, self._memory_budget = inputs, device, memory_budget
        example = inputs[:num_checked].to(device)
        with torch.autocast(device.type, enabled=False):
            self._layout = layout_of(network, example, has_gradients=has_gradients)
            self._example = self._placed(example)
            self.cut = cut(network.to(memory_format=self._layout), names, self._example)
        self.example = self.outputs(example)
        num_fitting = max(1, memory_budget * len(example) // max(1, num_bytes(self.example)))
        self.batch_size = min(batch_size, num_fitting)
        rows = range(len(inputs))
        self.chunks = [rows[i : i + num_fitting] for i in rows[::num_fitting]]
        self._kept: list[tuple] | None = None
        self._columns: list[Tensor] | None = None

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> tuple:
        """Run the prefix.

        Args:
            inputs: a batch of any examples ``[B, ...]``, augmented ones, say.

        Returns:
            The inputs of ``cut.suffix``.
        """
        return self.cut.prefix(self._placed(inputs))

    def batches(self, chunk: int) -> list[tuple]:
        """Return the outputs for the rows of a chunk, batch by batch.

        They are kept if there is one chunk alone, and else computed again in every call.
        """
        if self._kept is not None:
            return self._kept
        rows = self.chunks[chunk]
        found = batches(self._inputs, self.batch_size, rows.start, rows.stop)
        computed = [self.outputs(batch) for batch in found]
        if len(self.chunks) == 1:
            self._kept = computed
        return computed

    def obstacle(self) -> str | None:
        """Say why the outputs cannot be kept row by row; null if they can."""
        with torch.autocast(self._device.type, enabled=False):
            if not is_one_per_example(self.cut, self._example):
                return "the outputs of the frozen layers are not one per example"
        needed = num_bytes(self.example) // len(self._example) * len(self._inputs)
        if needed <= self._memory_budget:
            return None
        return (
            f"the outputs of the frozen layers would take {needed / 2**20:,.0f} MiB, and the "
            f"budget is {self._memory_budget / 2**20:,.0f} MiB"
        )

    def keep_rows(self, progress: Progress = ignore_progress) -> None:
        """Run the prefix on every example and keep the outputs row by row.

        Args:
            progress: called with the examples done and the total.
        """
        columns: list[Tensor] = []
        done = 0
        for batch in batches(self._inputs, self.batch_size):
            values = self.outputs(batch)
            columns = columns or [_empty_like(value, len(self._inputs)) for value in values]
            for column, value in zip(columns, values, strict=True):
                column[done : done + len(batch)] = value
            done += len(batch)
            progress(done, len(self._inputs))
        self._columns = columns

    def rows(self, rows: Tensor) -> tuple:
        """Return the outputs for some rows: kept ones, or computed ones if none are.

        Args:
            rows: indices ``[B]`` of examples.

        Returns:
            The inputs of ``cut.suffix``.
        """
        if self._columns is None:
            return self.outputs(self._inputs[rows])
        place = rows.to(self._device)
        return tuple(column[place] for column in self._columns)

    def _placed(self, inputs: Tensor) -> Tensor:
        return inputs.to(self._device, memory_format=self._layout)


@torch.no_grad()
def is_one_per_example(parts: Cut, example: Tensor) -> bool:
    """Check if activations at a split are tensors ``[B, ...]`` with one row per example."""
    fewer = example[: (len(example) + 1) // 2]
    for value, expected in zip(parts.prefix(example), parts.prefix(fewer), strict=True):
        if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != len(example):
            return False
        atol = ROW_TOLERANCE * float(expected.abs().max())
        if not torch.allclose(value[: len(fewer)], expected, rtol=ROW_TOLERANCE, atol=atol):
            return False
    return True


@torch.inference_mode()
def layout_of(
    network: nn.Module, example: Tensor, *, has_gradients: bool = False
) -> torch.memory_format:
    """Channels last for images: up to twice as fast, and equal to rounding.

    Not every network can: ``x.view(len(x), -1)`` wants contiguous feature maps.

    Args:
        network: the architecture; its tensors may change their layout.
        example: a few inputs ``[B, ...]``.
        has_gradients: whether any are taken, which not every version of torch can everywhere.

    Returns:
        The layout to compute in.
    """
    if example.dim() != 4:
        return torch.contiguous_format
    is_watched = has_gradients and _GROUP_NORM_CRASHES and example.device.type == "cpu"
    called = _CalledNames()
    try:
        with torch.random.fork_rng(devices=()), called if is_watched else nullcontext():
            network.to(memory_format=torch.channels_last)(
                example.to(memory_format=torch.channels_last)
            )
    except RuntimeError:
        return torch.contiguous_format
    return torch.contiguous_format if "group_norm" in called.names else torch.channels_last


class _CalledNames(TorchFunctionMode):
    """Names of the functions of torch that are called meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None
    ) -> Any:
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def num_bytes(values: Any) -> int:
    """Measure the memory of all tensors in a nested structure."""
    tensors = (leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor))
    return sum(tensor.nbytes for tensor in tensors)


def _empty_like(value: Tensor, length: int) -> Tensor:
    """Allocate a tensor of another length in the same memory format."""
    is_image = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_image else torch.contiguous_format
    shape = (length, *value.shape[1:])
    return torch.empty(shape, dtype=value.dtype, device=value.device, memory_format=layout)
