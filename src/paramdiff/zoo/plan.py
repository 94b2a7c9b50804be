"""Plan of a collection: its fine-tuning runs, and the updates after which they save checkpoints.

Of a single run, the tail is held out; of several, whole runs at the end.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from paramdiff.errors import UserError
from paramdiff.random import seeded_generator
from paramdiff.zoo.zoo import HoldOutRule
from paramdiff.zoo.zoo_settings import CollectionSettings


@dataclass(frozen=True)
class Run:
    """One fine-tuning run.

    Attributes:
        number: number of the run, from 0.
        steps: increasing numbers of updates after which a checkpoint is saved.
    """

    number: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All runs of a collection, and the rule that chooses held-out checkpoints."""

    runs: tuple[Run, ...]
    hold_out: HoldOutRule


def plan_of(settings: CollectionSettings, num_examples: int) -> Plan:
    """Plan a collection.

    Args:
        settings: training protocol.
        num_examples: size of the training split.

    Returns:
        The runs; checkpoints after the first ``num_checkpoints`` are held out.

    Raises:
        UserError: the steps skipped in each epoch leave no checkpoint to save.
    """
    kept, held_out = settings.num_checkpoints, settings.num_held_out
    hold_out: HoldOutRule
    if settings.num_runs == 1:
        hold_out, counts = ("tail" if held_out else "none"), [kept + held_out]
    else:
        learning = settings.num_runs - settings.num_held_out_runs
        counts = [*_shares(kept, learning), *_shares(held_out, settings.num_held_out_runs)]
        hold_out = "run"
    steps_per_epoch = -(-num_examples // settings.fine_tuning.batch_size)
    runs = [
        Run(
            number,
            tuple(islice(_kept_steps(settings, steps_per_epoch), num_checkpoints)),
        )
        for number, num_checkpoints in enumerate(counts)
    ]
    return Plan(tuple(runs), hold_out)


def _shares(total: int, num_runs: int) -> list[int]:
    """Divide a number of checkpoints among runs; the first ones save one more if needed."""
    return [total // num_runs + (run < total % num_runs) for run in range(num_runs)]


def run_seed(seed: int, number: int) -> int:
    """Derive the seed of an independent run; the first run has the recipe's seed."""
    return seed if number == 0 else seeded_generator(seed, "run", number).initial_seed() % 2**31


def _kept_steps(settings: CollectionSettings, steps_per_epoch: int) -> Iterator[int]:
    """Yield numbers of updates after which a run saves a checkpoint, without end."""
    every, skipped = settings.save_every_steps, settings.skip_steps_per_epoch
    first = settings.skip_steps + every

    def is_kept(step: int) -> bool:
        return (step - 1) % steps_per_epoch >= skipped

    period = math.lcm(every, steps_per_epoch)  # positions within an epoch repeat with this period
    if not any(is_kept(step) for step in range(first, first + period, every)):
        raise UserError(
            f"collection.skip_steps_per_epoch: {skipped} leaves no checkpoint to keep: an epoch "
            f"has {steps_per_epoch} updates, and every {every} of them one is kept"
        )
    return filter(is_kept, count(first, every))
