"""Generated networks as a sequence of complete state dicts, decoded on access.

Many large networks exceed memory together; so the sequence holds their latents, decodes a batch of
them at a time, and caches a bounded number of decoded ones.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.errors import NotFiniteError
from paramdiff.parameters.space import ParameterSpace

KEPT_VALUES = 1 << 26
"""Maximum number of decoded values in the cache."""


class GeneratedParameters(Sequence):
    """A sequence of complete state dicts of generated networks, made on access.

    Args:
        seeds: one per network.
        space: parameter space that completes vectors to state dicts.
        vector: function from a network's index to its raw parameter vector ``[P]``.
    """

    def __init__(
        self, seeds: Sequence[int], space: ParameterSpace, vector: Callable[[int], Tensor]
    ) -> None:
        self.seeds = tuple(seeds)
        self._space = space
        self._vector = vector

    @property
    def vectors(self) -> Tensor:
        """Raw parameter vectors ``[M, P]`` of all networks, in memory."""
        return torch.stack([self._vector(place) for place in range(len(self))])

    @property
    def checkpoint_format(self) -> CheckpointFormat | None:
        """Format of the training checkpoints, if they were imported."""
        return self._space.checkpoint_format

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the generated tensors."""
        return self._space.layout.names

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: Any) -> Any:
        place = range(len(self))[index]
        if isinstance(place, range):
            return GeneratedParameters(
                self.seeds[index], self._space, lambda number: self._vector(place[number])
            )
        return self._space.restore(self._vector(place))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[index] for index in range(len(self)))


def decode_lazily(
    decode: Callable[[slice], Tensor], seeds: Sequence[int], batch_size: int, length: int
) -> Callable[[int], Tensor]:
    """Make a function from a network's index to its raw vector ``[P]``.

    Args:
        decode: function from indices of up to ``batch_size`` networks to raw vectors ``[B, P]``.
        seeds: one per network.
        batch_size: networks decoded together, starting at a multiple of it.
        length: length of a vector, for the size of the cache.

    Returns:
        The function; it raises a ``UserError`` with the seed if a vector is not finite.
    """

    @lru_cache(max(1, KEPT_VALUES // (batch_size * length)))
    def batch(number: int) -> Tensor:
        rows = slice(number * batch_size, (number + 1) * batch_size)
        vectors = decode(rows)
        bad = (~torch.isfinite(vectors).all(1)).nonzero().flatten().tolist()
        if bad:
            raise NotFiniteError(
                f"seed {seeds[rows][bad[0]]}: the generated parameters are not finite"
            )
        return vectors

    return lambda place: batch(place // batch_size)[place % batch_size]
