"""Trial run of a network: checks its inputs and counts its classes."""

from typing import Any

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError, in_one_line
from paramdiff.user_code import error_location


@torch.no_grad()
def num_logits(field: str, network: nn.Module, example: Tensor) -> int:
    """Count the classes of a network by running it.

    Args:
        field: recipe field and name, for errors.
        network: network to run once in evaluation mode; its mode is restored.
        example: one or more inputs, ``[B, ...]``.

    Returns:
        ``K``, for outputs ``[B, K]``.

    Raises:
        UserError: the network cannot take such inputs, or returns something else.
    """
    was_training = network.training
    try:
        with torch.random.fork_rng(devices=[]):
            output: Any = network.eval()(example)
    except Exception as error:  # raised by the network's code, which may be a user's
        if example.is_meta and isinstance(error, RuntimeError):
            raise  # the network may depend on values; the caller retries with real ones
        place = error_location(error)
        reason = in_one_line(error) + (f" ({place})" if place else "")
        raise UserError(
            f"{field}: the network cannot take inputs of shape {tuple(example.shape)}: {reason}"
        ) from None
    network.train(was_training)
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(example):
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"{field}: the network must return logits [examples, classes], but returns {found}"
        )
    return output.shape[1]
