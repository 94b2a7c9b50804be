"""Seeded random streams, one for each purpose."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seeded_generator(*parts: int | str) -> torch.Generator:
    """Make a CPU generator seeded by a hash of the parts, so that no two uses share a stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextmanager
def drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators for a while: modules can draw from nothing else."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach all GPUs'
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
