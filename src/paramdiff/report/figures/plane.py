"""Groups in the plane of similarity and score, and the frontier of baselines as a step line.

Members of one method are joined in order of strength. What is worthless is not allowed to
squeeze all others together: it may fall outside of the view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramdiff.methods.group_names import is_control, is_finished, label_of, method_of, strength_of
from paramdiff.report.figures.label_placement import Label, place_labels
from paramdiff.report.figures.score_scale import Height
from paramdiff.report.style import Arrays, quiet_grid

PROMINENT = ("original", "held_out", "generated")
SHOWN_PERCENTILES = (5, 95)
"""Percentiles of the generated networks in view; dots of other groups may lie outside."""
NUM_DOTS = 200
"""Maximum number of dots per group."""
FREE = "#eef2f4"
STEP = "#5d6873"

GENERATED_RANK, REFERENCE_RANK, PROMINENT_RANK, NAME_RANK, STRENGTH_RANK = range(5)

Range = tuple[float, float]


@dataclass(frozen=True)
class Spot:
    """A group's mean similarity and mean score, and whether its strength was found by matching."""

    name: str
    similarity: float
    score: float
    is_matched: bool = False

    @property
    def family(self) -> str:
        """The name without its strength."""
        return self.name.partition("@")[0] + ("+bn" if is_finished(self.name) else "")


@dataclass(frozen=True)
class Plane:
    """One of the two figures.

    Args:
        spots: the groups in drawing order, ``generated`` among them.
        steps: similarity and score of the frontier's points, the least similar first.
        reference: the baseline that decides.
        axis: what the horizontal axis shows.
        lowest: scores below are left out of the view.
        height: from scores to heights in the figure.
        score_name: for people.
        scores: the scores that the view must hold, where they are not too low.
        arrays: ``score/GROUP`` and ``max_similarity/GROUP`` ``[M]``.
        has_clouds: whether single networks are drawn as dots.
    """

    spots: Sequence[Spot]
    steps: Sequence[tuple[float, float]]
    reference: str | None
    axis: str
    lowest: float
    height: Height
    score_name: str
    scores: Sequence[float]
    arrays: Arrays
    has_clouds: bool

    def outside(self) -> list[Spot]:
        """List the groups that the view does not hold."""
        (left, right), (bottom, top) = self._view()
        height = self.height
        return [
            spot
            for spot in self.spots
            if not (left <= spot.similarity <= right and bottom <= height(spot.score) <= top)
        ]

    def draw(self, figure: Figure, *, with_details: bool) -> None:
        """Fill an empty figure.

        Args:
            figure: where to draw.
            with_details: whether there is room for more than the most important labels.
        """
        axes, height = figure.add_subplot(), self.height
        across, up = self._view()
        axes.set_xlim(*across)
        axes.set_ylim(*up)
        hidden = {spot.name for spot in self.outside()}
        obstacles = self._step(axes, height)
        labels: list[Label] = []
        for _, members in groupby(self.spots, key=lambda spot: spot.family):
            family = list(members)
            obstacles += _join(axes, family, height)
            visible = [spot for spot in family if spot.name not in hidden]
            for spot in visible:
                if self.has_clouds and spot.name in PROMINENT:
                    self._cloud(axes, spot, height)
                self._mark(axes, spot, height)
            labels += self._labels(visible, height)
        axes.set_xlabel(self.axis)
        axes.set_ylabel(self.score_name)
        height.label(axes)
        quiet_grid(axes)
        if not with_details:
            labels = [label for label in labels if label.is_required]
        place_labels(figure, axes, labels, obstacles)

    def _view(self) -> tuple[Range, Range]:
        """Limits of both axes; heights above, similarities across."""
        height = self.height
        x = [
            spot.similarity
            for spot in self.spots
            if spot.score >= self.lowest and not is_control(spot.name)
        ]
        y = [float(height(value)) for value in self.scores if value >= self.lowest]
        dots = height(_finite(self.arrays, "score/generated"))
        if dots.size:
            y += np.percentile(dots, SHOWN_PERCENTILES).tolist()
        if self.has_clouds and (dots := _finite(self.arrays, "max_similarity/generated")).size:
            x += np.percentile(dots, SHOWN_PERCENTILES).tolist()
        (left, right), (bottom, top) = _widened(x, 0.08), _widened(y, 0.12)
        return (left, min(right, 1.01)), (bottom, top)

    def _step(self, axes: Axes, height: Height) -> list[tuple[float, float]]:
        """Draw the frontier, and return points along it."""
        if not self.steps:
            return []
        bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
        corners = [(self.steps[0][0], bottom)]
        for similarity, accuracy in self.steps:
            corners += [(similarity, corners[-1][1]), (similarity, float(height(accuracy)))]
        corners.append((right, corners[-1][1]))
        x, y = np.array(corners).T
        axes.fill_between(x, y, bottom, color=FREE, linewidth=0, zorder=0.4)
        axes.plot(x, y, color=STEP, linewidth=1.1, zorder=1.2)
        axes.annotate(
            "needs no generator",
            (1, 0),
            (-6, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            color=STEP,
            fontstyle="italic",
        )
        return _along(corners[1:])

    def _cloud(self, axes: Axes, spot: Spot, height: Height) -> None:
        """Draw a dot for every network of a group."""
        x = self.arrays.get(f"max_similarity/{spot.name}", np.zeros(0)).ravel()
        y = self.arrays.get(f"score/{spot.name}", np.zeros(0)).ravel()
        if x.size != y.size or x.size < 2:
            return
        rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        rows = rows[:: math.ceil(rows.size / NUM_DOTS) or 1]
        axes.plot(
            x[rows],
            height(y[rows]),
            linestyle="none",
            marker="o",
            markersize=2.8,
            markeredgewidth=0,
            color=method_of(spot.name).style.color,
            alpha=0.32 if spot.name == "generated" else 0.14,
            zorder=1.5,
        )

    def _mark(self, axes: Axes, spot: Spot, height: Height) -> None:
        own, is_prominent = method_of(spot.name).style, spot.name in PROMINENT
        size = 10 if spot.name == "generated" else 8 if is_prominent else 5.5
        place = [spot.similarity], [height(spot.score)]
        axes.plot(
            *place,
            marker=own.marker,
            color=own.color,
            markersize=size,
            markeredgecolor=own.color if own.marker == "x" else "white",
            markeredgewidth=1.2 if is_prominent else 0.8,
            zorder=5 if is_prominent else 4,
        )
        if spot.name == self.reference:
            axes.plot(
                *place,
                marker="o",
                markersize=size + 6,
                markerfacecolor="none",
                markeredgecolor=own.color,
                markeredgewidth=1.4,
                zorder=4.5,
            )

    def _labels(self, family: Sequence[Spot], height: Height) -> list[Label]:
        """Name a group; of a joined family its strengths, and the name at the last."""
        labels = []
        for index, spot in enumerate(family):
            point = (spot.similarity, float(height(spot.score)))
            halo = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6}
            style = {"color": method_of(spot.name).style.color, "zorder": 6, "bbox": halo}
            if spot.name in PROMINENT:
                is_generated = spot.name == "generated"
                style |= {"fontsize": 10.5 if is_generated else 9.5, "fontweight": "bold"}
                rank = GENERATED_RANK if is_generated else PROMINENT_RANK
                labels.append(Label(label_of(spot.name), point, rank, True, style))
                if is_generated and self.reference is None:
                    text = "no baseline is this dissimilar"
                    style = style | {"fontsize": 8.5, "fontweight": "normal"}
                    labels.append(Label(text, point, REFERENCE_RANK, True, style))
            elif spot.name == self.reference:
                labels.append(Label(label_of(spot.name), point, REFERENCE_RANK, True, style))
            elif index == len(family) - 1 or not strength_of(spot.name):
                labels.append(Label(label_of(spot.name), point, NAME_RANK, False, style))
            elif not spot.is_matched:
                # left out where there is no room, as names are: the legend has them
                style["fontsize"] = 7.5
                labels.append(Label(strength_of(spot.name), point, STRENGTH_RANK, False, style))
        return labels


def _join(axes: Axes, family: Sequence[Spot], height: Height) -> list[tuple[float, float]]:
    """Join the strengths of a baseline, and return points along the line as obstacles."""
    points = [(spot.similarity, float(height(spot.score))) for spot in family]
    if len(points) < 2:
        return points
    x, y = zip(*points, strict=True)
    color = method_of(family[0].name).style.color
    axes.plot(x, y, color=color, linewidth=1.1, alpha=0.7, zorder=2)
    return _along(points)


def _along(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    share = np.linspace(0, 1, 12)[:, None]
    pieces = [np.array(a) + share * (np.array(b) - np.array(a)) for a, b in pairwise(corners)]
    return [(float(x), float(y)) for piece in pieces for x, y in piece]


def _finite(arrays: Arrays, name: str) -> np.ndarray:
    values = arrays.get(name, np.zeros(0)).ravel()
    return values[np.isfinite(values)]


def _widened(values: Sequence[float], share: float) -> Range:
    low, high = min(values), max(values)
    margin = share * (high - low) or 0.05
    return low - margin, high + margin
