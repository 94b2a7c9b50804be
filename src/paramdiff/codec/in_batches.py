"""A codec over many vectors, a batch at a time."""

import torch
from torch import Tensor

from paramdiff.codec.codec import Codec, Statistics

MAX_DECODED = 64
MAX_DECODED_VALUES = 1 << 22


@torch.no_grad()
def encode_all(codec: Codec, vectors: Tensor, batch_size: int = 64) -> Tensor:
    """Latents ``[N, latent_dim]`` of all vectors under running statistics."""
    return torch.cat([codec.encode(block) for block in vectors.split(batch_size)])


def decoding_batch(length: int) -> int:
    """How many vectors of a length are decoded together: few where they are long."""
    return max(1, min(MAX_DECODED, MAX_DECODED_VALUES // length))


@torch.no_grad()
def decode_all(
    codec: Codec, latents: Tensor, statistics: Statistics, batch_size: int | None = None
) -> Tensor:
    """Vectors ``[M, length]`` of all latents, in batches padded to one size.

    The padding keeps a vector's bits independent of how many others are decoded with it.
    """
    size = batch_size or decoding_batch(codec.length)
    parts = []
    for block in latents.split(size):
        missing = size - len(block)
        padded = torch.cat([block, block[-1:].expand(missing, -1)])
        parts.append(codec.decode(padded, statistics)[: len(block)])
    return torch.cat(parts)
