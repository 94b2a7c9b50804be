"""What a part of ``benchmarks.gpu`` is given, and the rows that it writes.

What a device computes is compared with the CPU's in full float32 (TF32 switched off, as it rounds
to three digits by design); times are those of the program as it is.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.contest import Clock, Size
from benchmarks.sides import Reference

CPU = torch.device("cpu")
LOSS_TOLERANCE = 1e-3
"""Relative, of the losses of a few updates: float32 sums in another order, then AdamW, whose first
updates have the size of the learning rate whatever the gradient's."""
VALUE_TOLERANCE = 1e-3
"""Of values, in standard deviations of the CPU's, after a chain of a few dozen operations."""
LABEL_TOLERANCE = 1e-3
"""The share of labels that may differ: those of near ties."""


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        what: was measured or compared.
        unit: of the numbers.
        device: the device's.
        cpu: the CPU's, by the same code.
        theirs: the authors' on the device.
        difference: between device and CPU.
        tolerance: what it may be.
    """

    what: str
    unit: str
    device: float | None = None
    cpu: float | None = None
    theirs: float | None = None
    difference: float | None = None
    tolerance: float | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether the difference is within the tolerance; none where nothing is compared."""
        if self.difference is None or self.tolerance is None:
            return None
        return self.difference <= self.tolerance  # false for NaN


@dataclass(frozen=True)
class Setting:
    """What a part is given.

    Attributes:
        device: beside the CPU.
        is_tiny: whether sizes only show that it runs.
        end: when to be done, by ``time.monotonic``.
        results: the file of the rows.
        reference: the authors' modules, where they are wanted.
    """

    device: torch.device
    is_tiny: bool
    end: float
    results: Path
    reference: Reference | None = None

    @property
    def seconds_left(self) -> float:
        """Until the part should be done."""
        return self.end - time.monotonic()

    def demand_time(self) -> None:
        """Raise a ``TimeoutError`` where the part should be done, before it measures more."""
        if self.seconds_left < 0:
            raise TimeoutError("its time is over")

    @property
    def size(self) -> Size:
        """Of the zoo that codec, denoiser and sampling work on."""
        number, latent_dim = (64, 16) if self.is_tiny else (2_048, 128)
        return Size(number, latent_dim, "main/cifar100_resnet18")

    @cached_property
    def devices(self) -> list[torch.device]:
        """The device, and the CPU where that is another."""
        return [self.device, *([CPU] if self.device != CPU else [])]

    def clock(self, device: torch.device) -> Clock:
        """What time is on a device."""
        return Clock(device, torch.get_num_threads())

    def note(self, row: Row) -> None:
        """Write a result."""
        known = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(row).items()
        }
        line = json.dumps({**known, "agrees": row.agrees})
        with self.results.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


@contextmanager
def full_float32() -> Iterator[None]:
    """Switch off TF32, which rounds products of float32 to three digits."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = False
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
