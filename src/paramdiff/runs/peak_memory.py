"""The most memory that was held since it was last forgotten."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
"""See ``man 5 proc``, /proc/pid/clear_refs."""


def peak_memory() -> float:
    """The most memory in MB that the process, or on CUDA the device, has held.

    Counted from ``forget_peak_memory``; from the start on systems that cannot forget.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    # what getrusage tells counts the program that started this one, too
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak_memory() -> None:
    """Count anew from what is held now, where the system lets a process do so."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        CLEAR.write_text(_FORGET_PEAK)
