"""Peak memory of the process or the CUDA device."""

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
