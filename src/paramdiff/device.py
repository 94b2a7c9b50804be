"""Devices by name."""

import torch

from paramdiff.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``mps`` on this machine.

    Args:
        name: one of the four.

    Returns:
        The device; ``auto`` prefers CUDA, then MPS.

    Raises:
        UserError: the device is unknown or absent.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    if name not in available:
        raise UserError(f"--device: expected auto, cpu, cuda or mps, found {name!r}")
    if not available[name]:
        raise UserError(f"--device: {name} is not available on this machine")
    return torch.device(name)
