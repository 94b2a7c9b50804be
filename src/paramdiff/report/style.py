"""One style for all figures, and SVG that is the same for the same numbers.

Figures are made without pyplot, so that nothing of the caller's matplotlib state is touched, and
embedded as images, so that the ids inside several of them cannot clash.
"""

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

INK = "#1b2430"
GRAY = "#6b7480"

Arrays = Mapping[str, np.ndarray]
Size = tuple[float, float]

HALF: Size = (4.7, 3.3)
"""Inches of a figure that shares its row with another, and that a phone can show as it is."""

STYLE = {
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # names of groups and stages are data, not formulas
    "axes.edgecolor": "#8a929c",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ec",
    "grid.linewidth": 0.7,
    "xtick.color": "#8a929c",
    "ytick.color": "#8a929c",
    "xtick.labelcolor": "#47505b",
    "ytick.labelcolor": "#47505b",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.dpi": 72,  # one pixel is one point, as in SVG
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Illustration:
    """A figure ready for the page.

    Args:
        source: a ``data:`` address.
        width: its natural width in CSS pixels.
        alt: description for a reader who cannot see it.
        caption: one sentence on how to read it.
        narrow: another drawing of it for narrow screens; empty if one serves both.
    """

    source: str
    width: int
    alt: str
    caption: str
    narrow: str = ""


def embed(draw: Callable[[Figure], None], size: Size) -> str:
    """Draw a figure in the house style and return it as a ``data:`` address.

    Args:
        draw: fills an empty figure.
        size: width and height in inches.

    Returns:
        The address: SVG in base64.
    """
    with (
        matplotlib.style.context(STYLE, after_reset=True),
        matplotlib.rc_context({"svg.hashsalt": "paramdiff"}),
    ):
        figure = Figure(figsize=size)
        draw(figure)
        stream = io.BytesIO()
        nothing = {"Date": None, "Creator": None}  # neither a time nor a version in the bytes
        figure.savefig(stream, format="svg", dpi=200, metadata=nothing, transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def illustrate(
    draw: Callable[[Figure], None], alt: str, caption: str, size: Size = HALF
) -> Illustration:
    """Draw a figure of one size and describe it."""
    return Illustration(embed(draw, size), round(size[0] * 96), alt, caption)


def finite(values: Any) -> np.ndarray:
    """Return the finite values, flattened."""
    flat = np.asarray(values, dtype=float).ravel()
    return flat[np.isfinite(flat)]


def percent_axis(axes: Axes, which: str) -> None:
    """Label an axis of fractions in percent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def quiet_grid(axes: Axes, which: Literal["both", "x", "y"] = "both") -> None:
    """Draw faint lines behind the data, and no tick marks beside them."""
    axes.grid(True, axis=which)
    axes.tick_params(length=0)


COMMANDS: dict[int, str] = {
    int(Path.MOVETO): "M",
    int(Path.LINETO): "L",
    int(Path.CURVE3): "Q",
    int(Path.CURVE4): "C",
    int(Path.CLOSEPOLY): "Z",
}


@cache
def outline(marker: str) -> str:
    """Return a marker's outline.

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
    """Turn the vertical axis, which points down in SVG."""
    return [round(-float(v), 3) if i % 2 else round(float(v), 3) for i, v in enumerate(vertices)]
