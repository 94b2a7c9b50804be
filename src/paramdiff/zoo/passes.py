"""Shuffled passes over a training split.

Every order is a function of the stream's name and the number of the pass, so that a run that was
killed goes on exactly where it stood.
"""

import torch
from torch import Tensor

from paramdiff.engine import seeded_generator


class ShuffledPasses:
    """The rows of the training split in passes, each in an order of its own.

    Args:
        num_train: how many rows there are.
        batch_size: rows per update; the last update of a pass may have fewer.
        stream: the name that determines the orders.

    Attributes:
        steps_per_pass: updates in one pass.
    """

    def __init__(self, num_train: int, batch_size: int, stream: str) -> None:
        self._num_train, self._batch_size, self._stream = num_train, batch_size, stream
        self._pass, self._order = -1, torch.empty(0)
        self.steps_per_pass = -(-num_train // batch_size)

    def rows(self, step: int) -> Tensor:
        """The rows ``[B]`` of the training split that an update sees."""
        number, position = divmod(step, self.steps_per_pass)
        if number != self._pass:
            generator = seeded_generator(self._stream, number)
            self._pass = number
            self._order = torch.randperm(self._num_train, generator=generator)
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]
