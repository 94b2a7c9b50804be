"""Seeded random streams, one for each purpose."""

import hashlib

import torch


def seeded_generator(*parts: int | str) -> torch.Generator:
    """Make a CPU generator seeded by a hash of the parts, so that no two uses share a stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
