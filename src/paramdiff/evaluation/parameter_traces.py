"""Some parameters over the course of training and of the reverse process (paper Figure 1)."""

import torch
from torch import Tensor

from paramdiff.parameters.layout import ParameterLayout
from paramdiff.subsampling import evenly_spaced

NUM_SHOWN = 48
"""Parameters of each half of the picture."""
NUM_STATES = 100


def shown_parameters(layout: ParameterLayout) -> tuple[Tensor, int]:
    """Choose the parameters of the picture: weights above, biases and all others below.

    Args:
        layout: of a vector.

    Returns:
        Their indices ``[C]``, and how many of them, from the first, are weights.
    """
    halves: tuple[list[Tensor], list[Tensor]] = ([], [])
    for slot in layout.slots:
        halves[not slot.name.endswith("weight")].append(torch.arange(slot.start, slot.stop))
    weights, others = (_evenly(torch.cat(half), NUM_SHOWN) if half else _NONE for half in halves)
    return torch.cat([weights, others]), len(weights)


def training_traces(originals: Tensor, layout: ParameterLayout) -> dict[str, Tensor]:
    """The values of the shown parameters in the originals.

    Args:
        originals: raw vectors ``[N, P]`` in the order in which they were saved.
        layout: where each tensor lies.

    Returns:
        The arrays ``parameter_traces/training`` and ``parameter_traces/num_weights``.
    """
    shown, num_weights = shown_parameters(layout)
    states = _evenly(torch.arange(len(originals)), NUM_STATES)
    return {
        "parameter_traces/training": originals[states[:, None], shown].float(),
        "parameter_traces/num_weights": torch.tensor([num_weights]),
    }


def reverse_traces(states: Tensor, layout: ParameterLayout) -> dict[str, Tensor]:
    """Read the same of decoded states ``[S, P]``, as ``parameter_traces/reverse``."""
    return {"parameter_traces/reverse": states[:, shown_parameters(layout)[0]].float()}


_NONE = torch.zeros(0, dtype=torch.int64)


def _evenly(values: Tensor, count: int) -> Tensor:
    return values[evenly_spaced(len(values), count)]
