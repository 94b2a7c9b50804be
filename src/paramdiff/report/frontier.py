"""The main figure: accuracy against similarity to the nearest original, for every group.

A generator is of use where it lies above what is free at the same similarity, so the free
alternatives of one family are joined in order of strength: they draw the frontier to beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report import words
from paramdiff.report.drawing import Arrays, Illustration, Size, embed, quiet_grid
from paramdiff.report.families import (
    family_of,
    in_reading_order,
    label_of,
    strength_of,
)
from paramdiff.report.intervals import lowest_shown
from paramdiff.report.placement import Label, place_labels

WIDE: Size = (11.3, 5.9)
NARROW: Size = (3.9, 4.5)
CLOUDS = ("original", "held_out", "generated")
GRIDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)

STRENGTH_RANK, NAME_RANK = 2, 3
"""Strengths are placed before names: they are short, and of no use away from their point."""

CAPTION = (
    "Higher is more accurate, further left is newer: generated networks earn their cost where "
    "they lie above the lines of the free alternatives at the same similarity. Marks are the "
    "means of groups, faint crosses one standard deviation, dots single networks, numbers along "
    "a line its strengths. The vertical axis is the error rate on a logarithmic scale, labelled "
    "as accuracy."
)


@dataclass(frozen=True)
class Spot:
    """A group in the figure: its similarity, and its accuracy with one standard deviation."""

    name: str
    similarity: float
    similarity_std: float
    accuracy: float
    accuracy_std: float

    @property
    def family(self) -> str:
        """The part of the name before the strength."""
        return self.name.partition("@")[0]

    def accuracy_range(self, height: "Height") -> tuple[float, float]:
        """The heights of one standard deviation below and above the mean."""
        low, high = self.accuracy - self.accuracy_std, self.accuracy + self.accuracy_std
        return float(height(low)), float(height(high))

    @property
    def in_words(self) -> str:
        """The group and both of its means."""
        accuracy = words.percent(self.accuracy, 1)
        return f"{label_of(self.name)}: {accuracy} at {words.number(self.similarity)}"


@dataclass(frozen=True)
class Height:
    """Accuracy as a height in the figure: the negative logarithm of the error rate.

    Args:
        least_error: the error rate that stands for none at all.
    """

    least_error: float

    def __call__(self, accuracy: float | np.ndarray) -> np.ndarray:
        """Map accuracies to heights."""
        return -np.log10(np.maximum(1 - np.asarray(accuracy), self.least_error))


def frontier(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw accuracy against maximum similarity; None where no group has a similarity.

    Args:
        evaluation: the numbers.
        arrays: ``accuracy/GROUP`` and ``max_similarity/GROUP`` ``[M]`` for the clouds of dots.

    Returns:
        The figure, in a wide and in a narrow drawing.
    """
    spots = _spots(evaluation)
    lowest = lowest_shown(evaluation)
    shown = [spot for spot in spots if spot.accuracy >= lowest]
    if not shown:
        return None
    below = [spot.in_words for spot in spots if spot.accuracy < lowest]
    height = Height(0.5 / max(evaluation.num_test, 1))
    return Illustration(
        source=embed(lambda figure: _draw(figure, spots, lowest, arrays, height), WIDE),
        narrow=embed(lambda figure: _draw(figure, spots, lowest, arrays, height), NARROW),
        width=round(WIDE[0] * 96),
        alt="Accuracy and similarity to the nearest original: "
        + "; ".join(spot.in_words for spot in shown),
        caption=CAPTION + (f" Below the view: {'; '.join(below)}." if below else ""),
    )


def _spots(evaluation: Evaluation) -> list[Spot]:
    spots = []
    for name in in_reading_order(evaluation.groups):
        similarity, accuracy = (
            evaluation.groups[name].max_similarity,
            evaluation.groups[name].accuracy,
        )
        if similarity is not None:
            spots.append(Spot(name, similarity.mean, similarity.std, accuracy.mean, accuracy.std))
    return spots


def _draw(
    figure: Figure, spots: Sequence[Spot], lowest: float, arrays: Arrays, height: Height
) -> None:
    axes = figure.add_subplot()
    shown = [spot for spot in spots if spot.accuracy >= lowest]
    dots = [
        dot for spot in shown if spot.name in CLOUDS for dot in _cloud(axes, spot, arrays, height)
    ]
    obstacles: list[tuple[float, float]] = []
    labels: list[Label] = []
    for _, members in groupby(spots, key=lambda spot: spot.family):
        family = list(members)
        obstacles += _join(axes, family, height)
        visible = [spot for spot in family if spot.accuracy >= lowest]
        for spot in visible:
            _mark(axes, spot, height, has_cloud=f"accuracy/{spot.name}" in arrays)
        labels += _labels(visible, height)
    _set_view(axes, shown, dots, height)
    if (
        figure.get_figwidth() < WIDE[0]
    ):  # no room for strengths, and for other names only by chance
        labels = [
            replace(label, is_required=label.rank < NAME_RANK)
            for label in labels
            if label.rank != STRENGTH_RANK
        ]
    place_labels(figure, axes, labels, obstacles)


def _cloud(axes: Axes, spot: Spot, arrays: Arrays, height: Height) -> list[tuple[float, float]]:
    """Draw a dot for every network of a group, and return where they are."""
    x = arrays.get(f"max_similarity/{spot.name}", np.zeros(0)).ravel()
    y = arrays.get(f"accuracy/{spot.name}", np.zeros(0)).ravel()
    if x.size != y.size or x.size < 2:
        return []
    whole = np.isfinite(x) & np.isfinite(y)
    x, y = x[whole], height(y[whole])
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=3.2,
        markeredgewidth=0,
        color=family_of(spot.name).colour,
        alpha=0.3,
        rasterized=True,
        zorder=1.5,
    )
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _join(axes: Axes, family: Sequence[Spot], height: Height) -> list[tuple[float, float]]:
    """Join the strengths of a free alternative, and return points along the line as obstacles."""
    points = [(spot.similarity, float(height(spot.accuracy))) for spot in family]
    if len(points) < 2:
        return points
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=family_of(family[0].name).colour, linewidth=1.4, alpha=0.8, zorder=2)
    along = np.linspace(0, 1, 12)
    return [
        (float(x0 + share * (x1 - x0)), float(y0 + share * (y1 - y0)))
        for (x0, y0), (x1, y1) in pairwise(points)
        for share in along
    ]


def _mark(axes: Axes, spot: Spot, height: Height, has_cloud: bool) -> None:
    family, y = family_of(spot.name), height(spot.accuracy)
    is_subject = spot.name in CLOUDS
    if not (is_subject and has_cloud):  # a cloud shows the spread better than a cross
        faint: dict[str, Any] = {
            "color": family.colour,
            "linewidth": 0.8,
            "alpha": 0.35,
            "zorder": 1.8,
        }
        left, right = spot.similarity - spot.similarity_std, spot.similarity + spot.similarity_std
        axes.hlines(y, left, right, **faint)
        axes.vlines(spot.similarity, *spot.accuracy_range(height), **faint)
    axes.plot(
        [spot.similarity],
        [y],
        marker=family.marker,
        color=family.colour,
        markersize=9 if is_subject else 5.5,
        markeredgecolor=family.colour if family.marker == "x" else "white",
        markeredgewidth=1.2 if is_subject else 0.8,
        zorder=5 if is_subject else 4,
    )


def _labels(family: Sequence[Spot], height: Height) -> list[Label]:
    """The name of a group; of a joined family the strengths, and its name at the last of them."""
    labels = []
    for index, spot in enumerate(family):
        point = (spot.similarity, float(height(spot.accuracy)))
        halo = [withStroke(linewidth=2.6, foreground="white", alpha=0.9)]
        style = {"color": family_of(spot.name).colour, "zorder": 6, "path_effects": halo}
        if spot.name in CLOUDS:
            rank = 0 if spot.name == "generated" else 1
            style |= {"fontsize": 10, "fontweight": "bold"}
            labels.append(Label(label_of(spot.name), point, rank, True, style))
        elif index == len(family) - 1 or not strength_of(spot.name):
            labels.append(Label(label_of(spot.name), point, NAME_RANK, True, style))
        else:  # left out where there is no room
            style["fontsize"] = 7.5
            labels.append(Label(strength_of(spot.name), point, STRENGTH_RANK, False, style))
    return labels


def _set_view(
    axes: Axes, shown: Sequence[Spot], dots: Sequence[tuple[float, float]], height: Height
) -> None:
    lowest = min(spot.accuracy_range(height)[0] for spot in shown)
    dots = [dot for dot in dots if dot[1] >= lowest]
    ranges = [spot.accuracy_range(height) for spot in shown]
    x = np.array([dot[0] for dot in dots] + [spot.similarity for spot in shown])
    y = np.array([dot[1] for dot in dots] + [bound for pair in ranges for bound in pair])
    margin_x, margin_y = 0.06 * (np.ptp(x) or 0.1), 0.07 * (np.ptp(y) or 0.1)
    axes.set_xlim(x.min() - margin_x, min(x.max() + margin_x, 1.01))
    axes.set_ylim(y.min() - margin_y, y.max() + margin_y)
    ticks = _ticks(1 - 10 ** -(y.min() - margin_y), 1 - 10 ** -(y.max() + margin_y), height)
    axes.set_yticks(height(np.array(ticks)), [f"{100 * tick:.4g}%" for tick in ticks])
    axes.set_xlabel("similarity to the nearest original")
    axes.set_ylabel("test accuracy")
    quiet_grid(axes)


def _ticks(low: float, high: float, height: Height) -> list[float]:
    """Round accuracies between two bounds, the roundest first, none too near to another."""
    apart = float(height(high) - height(low)) / 7
    chosen: list[float] = []
    for grid in GRIDS:
        steps = np.arange(np.ceil(low / grid), np.floor(high / grid) + 1)
        for tick in (steps * grid).round(6).tolist():
            if 0 <= tick < 1 and all(
                abs(float(height(tick) - height(t))) >= apart for t in chosen
            ):
                chosen.append(tick)
        if len(chosen) >= 5:
            break
    return sorted(chosen)
