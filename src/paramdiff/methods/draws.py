"""The random numbers of a group of networks: each network has its own.

Network ``i`` of a seed is the same however many networks are made beside it, as are the samples of
a pipeline. Choices that concern the group, such as the order in which originals are disturbed,
come from the seed and the network's number.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from paramdiff.random import seeded_generator


class Draws:
    """Random number generators of the networks of a group, which advance as they are used.

    Args:
        numbers: of the networks in their group, from 0; a count stands for all below it.
        *seed: the parts that seed the group, such as a number and the member's name.

    Attributes:
        numbers: ``[M]``, of the networks.
        each: the generator of each network.
    """

    def __init__(self, numbers: int | Sequence[int], *seed: int | str) -> None:
        listed = range(numbers) if isinstance(numbers, int) else numbers
        self._seed = seed
        self.numbers = torch.tensor(list(listed), dtype=torch.long)
        self.each = [seeded_generator(*seed, "network", number) for number in listed]

    def __len__(self) -> int:
        return len(self.each)

    def first(self, most: int) -> "Draws":
        """Return the draws of the networks with a number below ``most``."""
        return Draws([number for number in self.numbers.tolist() if number < most], *self._seed)

    def for_purpose(self, purpose: str, count: int) -> "Draws":
        """Return the draws of ``count`` other networks, for a choice on the way."""
        return Draws(count, *self._seed, purpose)

    def of_group(self, purpose: str) -> torch.Generator:
        """Return a new generator of a choice that all networks of the group share."""
        return seeded_generator(*self._seed, "group", purpose)

    def normal(self, size: int) -> Tensor:
        """Draw standard normal numbers, ``[M, size]``."""
        found = torch.empty(len(self), size)
        for row, generator in zip(found, self.each, strict=True):
            row.normal_(generator=generator)
        return found

    def uniform(self) -> Tensor:
        """Draw numbers between 0 and 1, ``[M]``."""
        return self._collected(lambda generator: torch.rand((), generator=generator))

    def integers(self, high: int) -> Tensor:
        """Draw integers from 0 to ``high - 1``, ``[M]``."""
        return self._collected(lambda generator: torch.randint(high, (), generator=generator))

    def subsets(self, num: int, size: int) -> Tensor:
        """Draw ``size`` different integers below ``num`` for each network, ``[M, size]``."""
        drawn = self._collected(lambda generator: torch.randperm(num, generator=generator)[:size])
        return drawn.view(len(self), -1)

    def in_turn(self, num: int) -> Tensor:
        """Take the integers below ``num`` in turn, in an order of the group's: ``[M]``.

        Among the first networks each integer occurs equally often.
        """
        return torch.randperm(num, generator=self.of_group("order"))[self.numbers % num]

    def _collected(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        found = [draw(generator) for generator in self.each]
        return torch.stack(found) if found else torch.empty(0)
