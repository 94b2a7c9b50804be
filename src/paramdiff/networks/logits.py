"""Try a network on an input: does it take it, and how many classes does it tell apart?"""

from typing import Any

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError, in_one_line
from paramdiff.user_code import place_of


@torch.no_grad()
def num_logits(field: str, network: nn.Module, example: Tensor) -> int:
    """The number of classes of a network.

    Args:
        field: of the recipe, and the name in it, for errors.
        network: runs once in evaluation mode; its mode is kept.
        example: at least one input, ``[B, ...]``.

    Returns:
        ``K``, where the output is ``[B, K]``.

    Raises:
        UserError: the network cannot take such inputs, or gives something else.
    """
    was_training = network.training
    try:
        with torch.random.fork_rng(devices=[]):
            output: Any = network.eval()(example)
    except Exception as error:  # of a network's code, which may be a user's
        if example.is_meta and isinstance(error, RuntimeError):
            raise  # it may look at values; whoever wanted none has to try with some
        place = place_of(error)
        reason = in_one_line(error) + (f" ({place})" if place else "")
        raise UserError(
            f"{field}: the network cannot take inputs of shape {tuple(example.shape)}: {reason}"
        ) from None
    network.train(was_training)
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(example):
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"{field}: expected logits [examples, classes], found {found}")
    return output.shape[1]
