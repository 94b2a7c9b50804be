"""Placement of labels beside points, so that they cover neither points, lines nor one another.

Greedy: labels are placed in the order given, each where it overlaps least; one that may be left
out is left out when no free place is near.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DISTANCES = (7.0, 13.0, 22.0, 34.0, 48.0)
DIRECTIONS = (0, 180, 45, 315, 135, 225, 90, 270)


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point.

    Args:
        text: what to write.
        point: where it belongs, in data coordinates.
        rank: labels of lower rank are placed first.
        is_required: if it is written even where it overlaps.
        style: options of matplotlib's texts.
    """

    text: str
    point: tuple[float, float]
    rank: int
    is_required: bool
    style: dict[str, Any] = field(default_factory=dict)


def place_labels(
    figure: Figure, axes: Axes, labels: Sequence[Label], obstacles: Sequence[tuple[float, float]]
) -> None:
    """Write labels near their points.

    Args:
        figure: the figure, its layout final but for the labels.
        axes: where to write.
        labels: what to write.
        obstacles: points in data coordinates that no label should cover.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the labels must not move what they were placed beside
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken = _around(axes.transData.transform(list(obstacles)))
    frame = np.asarray(axes.get_window_extent().extents)
    for label in sorted(labels, key=lambda label: label.rank):
        note = axes.annotate(
            label.text, label.point, (0, 0), textcoords="offset points", **label.style
        )
        extent = note.get_window_extent(renderer)
        point = axes.transData.transform(label.point)
        places = [
            _place(point, (extent.width, extent.height), distance, direction)
            for distance in DISTANCES
            for direction in DIRECTIONS
        ]
        best = min(places, key=lambda place: _overlap(place.box, taken, frame) + place.price)
        if label.is_required or _overlap(best.box, taken, frame) < 1:
            note.set_position(best.offset)
            note.set(ha=best.ha, va=best.va)
            taken = np.concatenate([taken, best.box[None]])
            if math.hypot(*best.offset) > DISTANCES[0] + 1:
                _lead(axes, label, best.offset)
        else:
            note.remove()


@dataclass(frozen=True)
class _Place:
    """A candidate position of a label: offset from the point, alignment there and box."""

    offset: tuple[float, float]
    ha: Literal["left", "center", "right"]
    va: Literal["bottom", "center", "top"]
    box: np.ndarray
    price: float


def _place(
    point: np.ndarray, size: tuple[float, float], distance: float, direction: int
) -> _Place:
    across = round(math.cos(math.radians(direction)), 6)
    up = round(math.sin(math.radians(direction)), 6)
    offset = (distance * across, distance * up)
    shift = np.array([np.sign(across) - 1, np.sign(up) - 1]) / 2  # of the box's lower left corner
    corner = point + offset + shift * size
    return _Place(
        offset,
        "center" if across == 0 else "left" if across > 0 else "right",
        "center" if up == 0 else "bottom" if up > 0 else "top",
        np.concatenate([corner, corner + size]),
        0.6 * distance,
    )


def _lead(axes: Axes, label: Label, offset: tuple[float, float]) -> None:
    """Draw a hair line from a far label to its point, so that none is taken for a neighbor's."""
    color = label.style.get("color")
    hair = {"arrowstyle": "-", "color": color, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    options: dict[str, Any] = {"textcoords": "offset points", "arrowprops": hair, "zorder": 5.5}
    axes.annotate("", label.point, (0.93 * offset[0], 0.93 * offset[1]), **options)


def _around(points: np.ndarray, radius: float = 3.0) -> np.ndarray:
    return np.concatenate([points - radius, points + radius], axis=1)


def _overlap(box: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> float:
    """Area shared with the boxes that are taken, and ten times the area outside the axes."""
    outside = (box[2] - box[0]) * (box[3] - box[1]) - _shared(box, frame[None])
    return _shared(box, taken) + 10 * outside


def _shared(box: np.ndarray, boxes: np.ndarray) -> float:
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    return float(np.maximum(sides, 0).prod(1).sum())
