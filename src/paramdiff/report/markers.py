"""The markers of the figures as SVG paths, so that tables and legends show the same signs."""

from collections.abc import Iterable
from functools import cache

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

COMMANDS: dict[int, str] = {
    int(Path.MOVETO): "M",
    int(Path.LINETO): "L",
    int(Path.CURVE3): "Q",
    int(Path.CURVE4): "C",
    int(Path.CLOSEPOLY): "Z",
}


@cache
def outline(marker: str) -> str:
    """A marker's outline.

    Args:
        marker: one of matplotlib's.

    Returns:
        The ``d`` of an SVG path about the origin, whose height or width is about 1.
    """
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    pieces = []
    for vertices, code in path.iter_segments(simplify=False):
        command = COMMANDS[int(code)]
        numbers = "" if command == "Z" else " ".join(f"{value:g}" for value in _upright(vertices))
        pieces.append(command + numbers)
    return "".join(pieces)


def _upright(vertices: Iterable[float]) -> list[float]:
    """In SVG the vertical axis points down."""
    return [round(-float(v), 3) if i % 2 else round(float(v), 3) for i, v in enumerate(vertices)]
