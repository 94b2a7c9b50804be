"""Scales for scores: fractions near 1 by the logarithm of what is missing, others as they are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from paramdiff.report.text import ShownScore

GRIDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
FEWEST_TICKS = 5


class Height(Protocol):
    """A score as a height in a figure."""

    def __call__(self, accuracy: float | np.ndarray) -> np.ndarray:
        """Map scores to heights."""

    def label(self, axes: Axes) -> None:
        """Write scores on the vertical axis, whose limits are final."""


def height_of(score: ShownScore, num_test: int) -> Height:
    """Choose the scale on which groups can be told apart.

    Args:
        score: of the task.
        num_test: test examples.

    Returns:
        The scale.
    """
    return LogHeight(0.5 / max(num_test, 1)) if score.info.is_fraction else LinearHeight(score)


@dataclass(frozen=True)
class LinearHeight:
    """The score itself; for those that are no fractions.

    Args:
        score: writes the axis.
    """

    score: ShownScore

    def __call__(self, accuracy: float | np.ndarray) -> np.ndarray:
        """Map scores to themselves."""
        return np.asarray(accuracy, dtype=float)

    def label(self, axes: Axes) -> None:
        """Write scores on the vertical axis."""
        self.score.label_axis(axes, "y")


@dataclass(frozen=True)
class LogHeight:
    """A fraction as a height: the negative logarithm of the error rate, labeled as accuracy.

    Args:
        least_error: the error rate that stands for none at all.
    """

    least_error: float

    def __call__(self, accuracy: float | np.ndarray) -> np.ndarray:
        """Map accuracies to heights."""
        return -np.log10(np.maximum(1 - np.asarray(accuracy), self.least_error))

    def label(self, axes: Axes) -> None:
        """Put round accuracies on the vertical axis, whose limits are final."""
        low, high = axes.get_ylim()
        ticks = self._ticks(1 - 10**-low, 1 - 10**-high)
        axes.set_yticks(self(np.array(ticks)), [f"{100 * tick:.4g}%" for tick in ticks])

    def _ticks(self, low: float, high: float) -> list[float]:
        """Round accuracies between two bounds, the roundest first, none too near to another."""
        apart = float(self(high) - self(low)) / 7
        chosen: list[float] = []
        for grid in GRIDS:
            steps = np.arange(np.ceil(low / grid), np.floor(high / grid) + 1)
            for tick in ((steps * grid).round(6) + 0.0).tolist():  # no -0
                if 0 <= tick < 1 and all(
                    abs(float(self(tick) - self(other))) >= apart for other in chosen
                ):
                    chosen.append(tick)
            if len(chosen) >= FEWEST_TICKS:
                break
        return sorted(chosen)
