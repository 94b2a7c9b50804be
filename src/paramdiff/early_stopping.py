"""Early stopping on a held-out loss.

A validation during training computes the loss on held-out data, with the same noise each time, so
that successive values compare; the weights of the lowest are kept. It may also compute the
dispersion of what the module generates, which decides nothing and is shown to the user.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.training_settings import EarlyStopping


@dataclass(frozen=True)
class ValidationRecord:
    """The result of one validation.

    Attributes:
        update: number of updates made before it.
        held_out_loss: None without held-out data.
        dispersion: standard deviation of what the module generates, relative to the originals';
            None if it is not measured.
    """

    update: int
    held_out_loss: float | None
    dispersion: float | None


@dataclass(frozen=True)
class ValidationCallback:
    """Validation of a module in evaluation mode, with averaged weights if there is an average.

    Attributes:
        settings: how often, and the patience.
        held_out_loss: a module to its loss; None without held-out data: then the last weights are
            the best, and training does not stop early.
        dispersion: a module to the dispersion of its samples; None to skip it.
        at_start: validate before the first update, too, for modules that start out good.
    """

    settings: EarlyStopping
    held_out_loss: Callable[[nn.Module], float] | None = None
    dispersion: Callable[[nn.Module], float | None] | None = None
    at_start: bool = False

    def is_due(self, num_done: int, num_updates: int) -> bool:
        """Return True every ``settings.every`` updates and after the last one."""
        return num_done % self.settings.every == 0 or num_done == num_updates

    @torch.no_grad()
    def validate(self, module: nn.Module, num_done: int) -> ValidationRecord:
        """Validate a module.

        Args:
            module: in evaluation mode.
            num_done: updates made so far.

        Returns:
            The record.

        Raises:
            UserError: the held-out loss is not finite.
        """
        loss = None if self.held_out_loss is None else self.held_out_loss(module)
        if loss is not None and not math.isfinite(loss):
            raise UserError(
                f"training diverged: the held-out loss after {num_done} updates is {loss}"
            )
        dispersion = None if self.dispersion is None else self.dispersion(module)
        return ValidationRecord(num_done, loss, dispersion)

    def is_over(self, records: Sequence[ValidationRecord]) -> bool:
        """Return True if the last ``patience`` validations improved nothing."""
        since_best = len(records) - 1 - records.index(best_record(records))
        return since_best >= self.settings.patience


def best_record(records: Sequence[ValidationRecord]) -> ValidationRecord:
    """Return the first record with the lowest held-out loss; without held-out data, the last."""
    losses = {one: one.held_out_loss for one in records if one.held_out_loss is not None}
    return min(losses, key=lambda one: losses[one]) if losses else records[-1]
