"""The log of a run: losses, seconds and peak memory of its finished stages."""

import json
import resource
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from paramdiff.early_stopping import ValidationRecord
from paramdiff.evaluation.schema import Cost
from paramdiff.storage import write_text

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""See ``man 5 proc``, /proc/pid/clear_refs."""


def peak_memory() -> float:
    """Return the peak memory in MB of the process, or on CUDA of the device.

    Returns:
        The peak since ``forget_peak_memory``, or since the start on systems that cannot reset it.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    # getrusage counts the program that started this one, too
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak_memory() -> None:
    """Reset the peak to the memory held now, if the system allows it."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        CLEAR.write_text(_FORGET_PEAK)


@dataclass(frozen=True)
class StageLog:
    """One JSON object a line, one line a stage.

    Attributes:
        path: of the file; it need not exist yet.
    """

    path: Path

    def records(self) -> list[dict[str, Any]]:
        """Return the record of each finished stage."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def record(
        self,
        stage: str,
        seconds: float,
        losses: Sequence[float] = (),
        validation: Sequence[ValidationRecord] = (),
    ) -> None:
        """Write the record of a stage that has just ended, in place of an earlier one."""
        self._write(
            {
                "stage": stage,
                "seconds": round(seconds, 3),
                "peak_memory_mb": round(peak_memory(), 1),
                "losses": list(losses),
                "validation": [asdict(one) for one in validation],
            }
        )
        forget_peak_memory()  # the next stage counts its own

    def take_over(self, other: "StageLog", stage: str) -> None:
        """Copy another log's record of a stage."""
        for record in other._of(stage):
            self._write(record)

    def _write(self, new: dict[str, Any]) -> None:
        records = [record for record in self.records() if record["stage"] != new["stage"]]
        lines = [json.dumps(record, allow_nan=False) for record in [*records, new]]
        write_text(self.path, "\n".join(lines) + "\n")

    def losses(self, stage: str) -> list[float]:
        """Return the training losses of a stage."""
        return [loss for record in self._of(stage) for loss in record["losses"]]

    def validation_records(self, stage: str) -> list[ValidationRecord]:
        """Return the validation records of a stage that trained a module."""
        return [
            ValidationRecord(**one) for record in self._of(stage) for one in record["validation"]
        ]

    def _of(self, stage: str) -> list[dict[str, Any]]:
        return [record for record in self.records() if record["stage"] == stage]


def total_costs(logs: Iterable[StageLog]) -> dict[str, Cost]:
    """Sum seconds, and take the highest peak memory, of every stage over all generator seeds."""
    records: dict[str, list[dict[str, Any]]] = {}
    for log in logs:
        for record in log.records():
            records.setdefault(record["stage"], []).append(record)
    return {
        stage: Cost(
            seconds=round(sum(record["seconds"] for record in found), 3),
            peak_memory_mb=max(record["peak_memory_mb"] for record in found),
        )
        for stage, found in records.items()
    }
