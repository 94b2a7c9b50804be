"""Where to write labels beside points so that they cover neither points, lines nor one another.

Greedy: labels are placed in the order given, each where it overlaps least; one that may be left
out is left out when no free place is near.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

DISTANCES = (7.0, 13.0, 22.0, 34.0)
DIRECTIONS = (0, 180, 45, 315, 135, 225, 90, 270)


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point, in data coordinates."""

    text: str
    point: tuple[float, float]
    is_required: bool = False
    style: dict[str, Any] = field(default_factory=dict)


def place_labels(
    figure: Figure, axes: Axes, labels: Sequence[Label], obstacles: Sequence[tuple[float, float]]
) -> None:
    """Write labels near their points.

    Args:
        figure: the figure, its layout final but for the labels.
        axes: where to write.
        labels: the most important first.
        obstacles: points in data coordinates that no label should cover.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the labels must not move what they were placed beside
    canvas = FigureCanvasAgg(figure)
    taken = [_around(point) for point in axes.transData.transform(list(obstacles))]
    frame = axes.get_window_extent().extents
    for label in labels:
        note = axes.annotate(
            label.text, label.point, (0, 0), textcoords="offset points", **label.style
        )
        best_cost, best_box = math.inf, np.zeros(4)
        best_options: dict[str, Any] = {}
        for distance in DISTANCES:
            for direction in DIRECTIONS:
                options = _options(distance, direction)
                box = _box(note, options, canvas)
                cost = _overlap(box, taken, frame) + 0.6 * distance
                if cost < best_cost:
                    best_cost, best_box, best_options = cost, box, options
        if label.is_required or _overlap(best_box, taken, frame) < 1:
            _move(note, best_options)
            taken.append(best_box)
        else:
            note.remove()


def _options(distance: float, direction: int) -> dict[str, Any]:
    across, up = math.cos(math.radians(direction)), math.sin(math.radians(direction))
    horizontal = "center" if abs(across) < 0.1 else "left" if across > 0 else "right"
    vertical = "center" if abs(up) < 0.1 else "bottom" if up > 0 else "top"
    return {"offset": (distance * across, distance * up), "ha": horizontal, "va": vertical}


def _move(note: Annotation, options: dict[str, Any]) -> None:
    note.set_position(options["offset"])
    note.set(ha=options["ha"], va=options["va"])


def _box(note: Annotation, options: dict[str, Any], canvas: FigureCanvasAgg) -> np.ndarray:
    _move(note, options)
    return np.asarray(note.get_window_extent(canvas.get_renderer()).extents)


def _around(point: np.ndarray, radius: float = 3.0) -> np.ndarray:
    return np.concatenate([point - radius, point + radius])


def _overlap(box: np.ndarray, taken: Sequence[np.ndarray], frame: np.ndarray) -> float:
    """Area shared with what is there, and ten times the area outside the axes."""
    boxes = np.stack([*taken, frame])
    width = np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0])
    height = np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    outside = (box[2] - box[0]) * (box[3] - box[1]) - shared[-1]
    return float(shared[:-1].sum() + 10 * outside)
