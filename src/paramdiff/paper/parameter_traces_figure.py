"""Figure 1: parameters over training and over the reverse process, weights above, biases below."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from paramdiff.paper.panels import panels
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.report.style import INK, Illustration

GAP = 3
"""Rows between the halves."""


def parameter_traces_figure(runs: Sequence[tuple[str, PaperRun]]) -> Illustration | None:
    """Draw the reverse process and the training of the first run that recorded them.

    Args:
        runs: labels and runs.

    Returns:
        The figure; None if no run recorded the values.
    """
    for _, run in runs:
        arrays = run.tensors
        if {"parameter_traces/training", "parameter_traces/num_weights"} <= arrays.keys():
            break
    else:
        return None
    training = arrays["parameter_traces/training"].numpy()
    num_weights = int(arrays["parameter_traces/num_weights"][0])
    parts = [("training: first to last checkpoint", training)]
    if "parameter_traces/reverse" in arrays:
        parts.insert(
            0, ("reverse process: noise to network", arrays["parameter_traces/reverse"].numpy())
        )
    return panels(
        [_panel(title, values, training, num_weights) for title, values in parts],
        f"Heat maps of {training.shape[1]} parameters: " + "; ".join(title for title, _ in parts),
        "Each row is a parameter, weights above and biases below; time runs to the right. Red "
        "lies above and blue below the mean of the trained weights, or biases; full color is "
        "three of their standard deviations.",
        legend=False,
    )


def _panel(
    title: str, values: np.ndarray, training: np.ndarray, num_weights: int
) -> Callable[[Axes], None]:
    halves = {
        name: (values[:, half].T - training[:, half].mean()) / (training[:, half].std() or 1.0)
        for name, half in (
            ("weights", slice(num_weights)),
            ("biases", slice(num_weights, None)),
        )
        if training[:, half].size
    }
    gap = np.full((GAP, len(values)), np.nan)
    image = np.concatenate([part for half in halves.values() for part in (half, gap)][:-1])

    def draw(axes: Axes) -> None:
        axes.set_title(title, fontsize=9, loc="left")
        axes.imshow(
            image, cmap="RdBu_r", norm=TwoSlopeNorm(0, -3, 3), aspect="auto", interpolation="none"
        )
        axes.set_xticks([])
        centres, start = [], 0
        for half in halves.values():
            centres.append(start + len(half) / 2)
            start += len(half) + GAP
        axes.set_yticks(centres, list(halves), color=INK, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw
