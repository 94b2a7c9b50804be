"""Low-rank adapters as the products of their factors.

An adapter adds ``B A`` to a weight (LoRA: Hu et al. 2021, arXiv 2106.09685; the magnitudes of
DoRA, arXiv 2402.09353, are further tensors). Many factors have one product, so an average of
factors is not the average of what the adapters do. Methods therefore work on products, which are
factored again to the same rank by a singular value decomposition.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.memmap import map_rows
from paramdiff.parameters.layout import ParameterLayout, Slot

FACTORS = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up"))
"""Names of the first and the second factor: PEFT's, others', and those of diffusers."""
_MOST_VALUES = 1 << 26
"""Values of a product, above which its factors stay as they are."""


@dataclass(frozen=True)
class Pair:
    """The factors of one adapter.

    Attributes:
        first: the slot of ``A``, ``[rank, inputs, ...]``.
        second: the slot of ``B``, ``[outputs, rank, ...]``.
    """

    first: Slot
    second: Slot

    @property
    def rank(self) -> int:
        """The number of rows of ``A``."""
        return self.first.shape[0]

    @property
    def product_shape(self) -> tuple[int, int]:
        """Outputs, and inputs with their kernels."""
        return self.second.shape[0], (self.first.stop - self.first.start) // self.rank

    def product(self, vectors: Tensor) -> Tensor:
        """Multiply the factors of raw vectors ``[B, P]``; ``[B, outputs * inputs]``."""
        first = vectors[:, self.first.start : self.first.stop].float()
        second = vectors[:, self.second.start : self.second.stop].float()
        return (
            second.view(len(vectors), -1, self.rank) @ first.view(len(vectors), self.rank, -1)
        ).flatten(1)

    def factors(self, products: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factor products to the adapter's rank.

        Args:
            products: ``[B, outputs * inputs]``.

        Returns:
            Flat ``A`` and ``B``, each with the roots of the singular values; and the share of
            each product's squares ``[B]`` that they keep.
        """
        matrices = products.double().view(len(products), *self.product_shape)
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        rank = min(self.rank, values.shape[1])
        roots = values[:, :rank].sqrt()
        first = torch.zeros(len(products), self.rank, matrices.shape[2], dtype=torch.float64)
        second = torch.zeros(len(products), matrices.shape[1], self.rank, dtype=torch.float64)
        first[:, :rank] = roots[:, :, None] * right[:, :rank]
        second[:, :, :rank] = left[:, :, :rank] * roots[:, None]
        squares = values.square()
        total = squares.sum(1)
        kept = torch.where(total > 0, squares[:, :rank].sum(1) / total, torch.ones_like(total))
        return first.flatten(1), second.flatten(1), kept


@dataclass(frozen=True)
class AdapterProducts:
    """Vectors of factors to vectors of products, and back.

    Attributes:
        layout: of the vectors ``[P]`` with factors.
        pairs: the adapters.
        products: of the vectors ``[Q]`` with products, which come first.
    """

    layout: ParameterLayout
    pairs: tuple[Pair, ...]
    products: ParameterLayout

    @classmethod
    def find(cls, layout: ParameterLayout) -> "AdapterProducts | None":
        """Find adapters by the names and shapes of their factors; None without any."""
        slots = {slot.name: slot for slot in layout.slots}
        tied = {name for tie in layout.ties for name in tie}
        pairs = []
        for slot in layout.slots:
            other = _second(slot, slots)
            if other is not None and not {slot.name, other.name} & tied:
                pairs.append(Pair(slot, other))
        pairs = [one for one in pairs if _size(one) <= _MOST_VALUES]
        if not pairs:
            return None
        start, made = 0, []
        for pair in pairs:
            shape = pair.product_shape
            made.append(Slot(f"{pair.first.name}.product", shape, torch.float32, start))
            start = made[-1].stop
        used = {slot.name for pair in pairs for slot in (pair.first, pair.second)}
        for slot in layout.slots:
            if slot.name not in used:
                made.append(Slot(slot.name, slot.shape, slot.dtype, start))
                start = made[-1].stop
        return cls(layout, tuple(pairs), ParameterLayout(tuple(made)))

    @property
    def _rest(self) -> list[tuple[Slot, Slot]]:
        """The slots of all other tensors, in both layouts."""
        own = {slot.name: slot for slot in self.layout.slots}
        return [(own[slot.name], slot) for slot in self.products.slots[len(self.pairs) :]]

    def multiplied(self, raw: Tensor, scratch: Path | None = None) -> Tensor:
        """Multiply the factors of raw vectors ``[N, P]``.

        Args:
            raw: possibly memory-mapped.
            scratch: see ``empty_array``.

        Returns:
            ``[N, Q]``.
        """

        def compute(rows: Tensor) -> Tensor:
            parts = [pair.product(rows) for pair in self.pairs]
            parts += [rows[:, own.start : own.stop].float() for own, _ in self._rest]
            return torch.cat(parts, dim=1)

        return map_rows(raw, compute, self.products.num_parameters, scratch)

    def factored(self, vectors: Tensor) -> tuple[Tensor, float]:
        """Factor raw vectors of products.

        Args:
            vectors: ``[M, Q]``.

        Returns:
            Raw vectors ``[M, P]``, and the least share of a product's squares that is kept.
        """
        found = torch.empty(len(vectors), self.layout.num_parameters)
        least = 1.0
        for pair, slot in zip(self.pairs, self.products.slots, strict=False):
            for row in range(len(vectors)):
                first, second, kept = pair.factors(vectors[row : row + 1, slot.start : slot.stop])
                found[row, pair.first.start : pair.first.stop] = first[0].float()
                found[row, pair.second.start : pair.second.stop] = second[0].float()
                least = min(least, float(kept))
        for own, other in self._rest:
            found[:, own.start : own.stop] = vectors[:, other.start : other.stop]
        return found, least


def _second(first: Slot, slots: dict[str, Slot]) -> Slot | None:
    """Find the second factor of what may be a first one."""
    for name, other in FACTORS:
        pattern = rf"(^|[._]){re.escape(name)}(?=[._]|$)"
        if re.search(pattern, first.name) is None:
            continue
        found = slots.get(re.sub(pattern, rf"\g<1>{other}", first.name))
        if found is not None and _fit(first, found):
            return found
    return None


def _fit(first: Slot, second: Slot) -> bool:
    """Return whether two shapes are those of factors, kernels of the second one aside."""
    if len(first.shape) < 2 or len(second.shape) < 2 or first.dtype.is_complex:
        return False
    is_plain = all(size == 1 for size in second.shape[2:])
    return is_plain and second.shape[1] == first.shape[0]


def _size(pair: Pair) -> int:
    rows, columns = pair.product_shape
    return rows * columns
