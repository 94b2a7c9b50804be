"""When to stop training: looks at a module on the way, and which of them was the best.

A look measures the loss on what trains nothing, with the same noise each time, so that successive
values compare; the module of the lowest is kept. It may also measure how widely what the module
generates spreads. The loss hardly sees the last of the noise, which is most of what makes samples
spread too widely (latents of 100 dimensions: the loss is lowest after 400 updates, where samples
spread 3 times as widely): it decides only among modules whose samples spread about evenly.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import nn

from paramdiff.errors import UserError
from paramdiff.settings import Settings

LOWEST_SPREAD, HIGHEST_SPREAD = 0.8, 1.25
"""Outside of these, what is generated spreads unlike what was learned from."""


class EarlyStopping(Settings):
    """How often training is looked at, and how long it may go on without getting better."""

    every: int = Field(100, gt=0, description="updates between two looks")
    patience: int = Field(
        10, gt=0, description="looks without a lower held-out loss after which training stops"
    )


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

    @property
    def is_even(self) -> bool:
        """Whether samples spread about as widely as the originals, as far as is known."""
        return self.spread is None or LOWEST_SPREAD <= self.spread <= HIGHEST_SPREAD

    @property
    def badness(self) -> tuple[bool, float]:
        """What is lowest for the best look: the loss; of uneven spreads, the distance to 1."""
        if self.is_even or self.spread is None:
            return False, self.held_out_loss or 0.0
        return True, abs(math.log(max(self.spread, 1e-9)))


@dataclass(frozen=True)
class Watcher:
    """Looks at a module, which is in evaluation mode with averaged weights where there are any.

    Attributes:
        settings: how often, and how long without progress.
        held_out_loss: of the module; None where nothing is held out: then the last weights are the
            best, and nothing stops.
        spread: of what the module generates; None where that is not measured.
    """

    settings: EarlyStopping
    held_out_loss: Callable[[nn.Module], float] | None = None
    spread: Callable[[nn.Module], float | None] | None = None

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
        """Whether the last looks, as many as the patience, all found nothing better.

        Where no spread was even yet, it is not.
        """
        best = best_look(looks)
        return best.is_even and len(looks) - 1 - looks.index(best) >= self.settings.patience


def best_look(looks: Sequence[Look]) -> Look:
    """The first of the best looks; the last look where nothing is held out."""
    if looks[-1].held_out_loss is None:
        return looks[-1]
    return min(looks, key=lambda look: look.badness)
