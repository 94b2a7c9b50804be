"""When to stop training: looks at a module on the way, and which of them was the best.

A look measures the loss on what trains nothing, with the same noise each time, so that successive
values compare; the module of the lowest is kept. It may also measure how widely what the module
generates spreads, which decides nothing and warns people.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.training_settings import EarlyStopping


@dataclass(frozen=True)
class Look:
    """What one look found.

    Attributes:
        update: how many updates were made.
        held_out_loss: on what trains nothing; None where there is no such thing.
        spread: of what the module generates, relative to the originals'; None where not measured.
    """

    update: int
    held_out_loss: float | None
    spread: float | None


@dataclass(frozen=True)
class Watcher:
    """Looks at a module, which is in evaluation mode with averaged weights where there are any.

    Attributes:
        settings: how often, and how long without progress.
        held_out_loss: of the module; None where nothing is held out: then the last weights are the
            best, and nothing stops.
        spread: of what the module generates; None where that is not measured.
        at_start: whether to look before the first update, too: what begins as a good module may
            stay one.
    """

    settings: EarlyStopping
    held_out_loss: Callable[[nn.Module], float] | None = None
    spread: Callable[[nn.Module], float | None] | None = None
    at_start: bool = False

    def is_due(self, num_done: int, num_updates: int) -> bool:
        """Whether to look after so many updates; always after the last."""
        return num_done % self.settings.every == 0 or num_done == num_updates

    @torch.no_grad()
    def look(self, module: nn.Module, num_done: int) -> Look:
        """Measure the module; a ``UserError`` says that it has diverged."""
        loss = None if self.held_out_loss is None else self.held_out_loss(module)
        if loss is not None and not math.isfinite(loss):
            raise UserError(
                f"training diverged: the held-out loss after {num_done} updates is {loss}"
            )
        return Look(num_done, loss, None if self.spread is None else self.spread(module))

    def is_over(self, looks: Sequence[Look]) -> bool:
        """Whether the last looks, as many as the patience, all found nothing better."""
        return len(looks) - 1 - looks.index(best_look(looks)) >= self.settings.patience


def best_look(looks: Sequence[Look]) -> Look:
    """The first of those with the lowest held-out loss; the last where nothing is held out."""
    losses = {look: look.held_out_loss for look in looks if look.held_out_loss is not None}
    return min(losses, key=lambda look: losses[look]) if losses else looks[-1]
