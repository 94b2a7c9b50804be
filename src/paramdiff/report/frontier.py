"""The main figure: accuracy against similarity to the nearest original, for every group.

A generator is of use where it lies above what is free at the same similarity, so the free
alternatives of one family are joined in order of strength: they draw the frontier to beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report import words
from paramdiff.report.drawing import Arrays, Illustration, Size, embed, quiet_grid
from paramdiff.report.families import (
    SUBJECTS,
    family_of,
    in_reading_order,
    label_of,
    strength_of,
)
from paramdiff.report.intervals import lowest_shown
from paramdiff.report.placement import Label, place_labels

WIDE: Size = (10.3, 5.5)
NARROW: Size = (3.9, 4.5)
CLOUDS = ("original", "held_out", "generated")
GRIDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)

CAPTION = (
    "Higher is more accurate, further left is newer: generated networks earn their cost where they "
    "lie above the lines of the free alternatives at the same similarity. Large marks are means of "
    "a group with one standard deviation, small dots single networks, numbers along a line its "
    "strengths. The vertical axis is the error rate on a logarithmic scale, labelled as accuracy."
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

    @property
    def in_words(self) -> str:
        """The group and both of its means."""
        accuracy = words.percent(self.accuracy, 1)
        return f"{label_of(self.name)} {accuracy} at {words.number(self.similarity)}"


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
            spots.append(
                Spot(name, similarity.mean, similarity.std, accuracy.mean, accuracy.std)
            )
    return spots


def _draw(
    figure: Figure, spots: Sequence[Spot], lowest: float, arrays: Arrays, height: Height
) -> None:
    axes = figure.add_subplot()
    shown = [spot for spot in spots if spot.accuracy >= lowest]
    obstacles = [
        point for spot in shown if spot.name in CLOUDS for point in _cloud(axes, spot, arrays, height)
    ]
    labels: list[Label] = []
    for _, members in groupby(spots, key=lambda spot: spot.family):
        family = list(members)
        obstacles += _join(axes, family, height)
        visible = [spot for spot in family if spot.accuracy >= lowest]
        for spot in visible:
            _mark(axes, spot, height)
        labels += _labels(visible, height)
    _set_view(axes, shown, obstacles, height)
    labels.sort(key=lambda label: not label.is_required)
    place_labels(figure, axes, labels, obstacles)


def _cloud(
    axes: Axes, spot: Spot, arrays: Arrays, height: Height
) -> list[tuple[float, float]]:
    """Draw a dot for every network of a group, and return every tenth as an obstacle."""
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
    return list(zip(x[::10].tolist(), y[::10].tolist(), strict=True))


def _join(axes: Axes, family: Sequence[Spot], height: Height) -> list[tuple[float, float]]:
    """Join the strengths of a free alternative, and return points along the line as obstacles."""
    points = [(spot.similarity, float(height(spot.accuracy))) for spot in family]
    if len(points) < 2:
        return points
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=family_of(family[0].name).colour, linewidth=1.4, alpha=0.8, zorder=2)
    along = np.linspace(0, 1, 9)
    for (x0, y0), (x1, y1) in pairwise(points):
        points += zip(x0 + along * (x1 - x0), y0 + along * (y1 - y0), strict=True)
    return points


def _mark(axes: Axes, spot: Spot, height: Height) -> None:
    family, y = family_of(spot.name), height(spot.accuracy)
    is_subject = spot.name in SUBJECTS
    if spot.accuracy_std > 0 or spot.similarity_std > 0:
        low, high = height(spot.accuracy - spot.accuracy_std), height(spot.accuracy + spot.accuracy_std)
        axes.vlines(spot.similarity, low, high, color=family.colour, linewidth=1, zorder=3)
        left, right = spot.similarity - spot.similarity_std, spot.similarity + spot.similarity_std
        axes.hlines(y, left, right, color=family.colour, linewidth=1, zorder=3)
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
    """The name of a group alone; of a joined family its name at one end and its strengths."""
    labels = []
    for index, spot in enumerate(family):
        point = (spot.similarity, float(height(spot.accuracy)))
        style = {"color": family_of(spot.name).colour, "fontsize": 8.5, "zorder": 6}
        if spot.name in SUBJECTS:
            style |= {"fontsize": 10, "fontweight": "bold"}
        if len(family) == 1 or not strength_of(spot.name):
            labels.append(Label(label_of(spot.name), point, True, style))
            continue
        if index == len(family) - 1:
            name = f"{family_of(spot.name).label}: {strength_of(spot.name)}"
            labels.append(Label(name, point, True, style))
        else:
            labels.append(Label(strength_of(spot.name), point, False, style | {"fontsize": 7.5}))
    return labels


def _set_view(
    axes: Axes, shown: Sequence[Spot], obstacles: Sequence[tuple[float, float]], height: Height
) -> None:
    lowest = min(spot.accuracy for spot in shown)
    dots = [point for point in obstacles if point[1] >= height(lowest)]
    x = np.array([p[0] for p in dots] + [s.similarity - s.similarity_std for s in shown])
    y = np.array([p[1] for p in dots] + [float(height(s.accuracy - s.accuracy_std)) for s in shown])
    margin_x, margin_y = 0.06 * (np.ptp(x) or 0.1), 0.07 * (np.ptp(y) or 0.1)
    axes.set_xlim(x.min() - margin_x, min(x.max() + margin_x, 1.01))
    axes.set_ylim(y.min() - margin_y, y.max() + margin_y)
    ticks = _ticks(1 - 10 ** -(y.min() - margin_y), 1 - 10 ** -(y.max() + margin_y), height)
    axes.set_yticks(height(np.array(ticks)), [f"{100 * tick:.4g}%" for tick in ticks])
    axes.set_xlabel("similarity to the nearest original (IoU of wrong predictions)")
    axes.set_ylabel("test accuracy")
    quiet_grid(axes)


def _ticks(low: float, high: float, height: Height) -> list[float]:
    """Round accuracies between two bounds, the roundest first, none too near to another."""
    apart = float(height(high) - height(low)) / 7
    chosen: list[float] = []
    for grid in GRIDS:
        steps = np.arange(np.ceil(low / grid), np.floor(high / grid) + 1)
        for tick in (steps * grid).round(6).tolist():
            if tick < 1 and all(abs(float(height(tick) - height(t))) >= apart for t in chosen):
                chosen.append(tick)
        if len(chosen) >= 5:
            break
    return sorted(chosen)
