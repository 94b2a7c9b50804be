"""Figures 3, 4 and 5a: accuracy against maximum similarity, one panel per setting.

The paper counts the original from which a noised network was made among those that it may be
similar to, which puts weak noise at a similarity of 1. It is drawn as published; open markers show
the means without the own source, with which generated networks should be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from paramdiff.evaluation.metrics.similarity import maximum_similarity
from paramdiff.methods.group_names import label_of, method_of
from paramdiff.paper.paper_figures import panels
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.report.style import Illustration, percent_axis, quiet_grid

NOISES = {"noise@0.001": "#eda91f", "noise@0.05": "#b87900", "noise@0.15": "#6b3f00"}
"""Group to color, from weak to strong."""
NUM_DOTS = 200
"""Most networks of a group that are drawn."""

View = tuple[tuple[float, float], tuple[float, float]]
"""From left to right, and from bottom to top."""


@dataclass(frozen=True)
class Cloud:
    """The networks of a group: similarity and accuracy ``[M]``; the mean without own sources."""

    similarity: np.ndarray
    score: np.ndarray
    without_source: float | None


def score_similarity_figure(runs: Sequence[tuple[str, PaperRun]]) -> Illustration | None:
    """Draw one panel per setting.

    Args:
        runs: labels and runs.

    Returns:
        The figure; None if there is no run.
    """
    clouds = [(label, clouds_of(run)) for label, run in runs]
    drawable = [(label, found) for label, found in clouds if "generated" in found]
    if not drawable:
        return None
    view = common_view([found for _, found in drawable])
    return panels(
        [_panel(label, found, view) for label, found in drawable],
        "Test accuracy against maximum similarity of originals, generated networks and noised "
        f"originals, in {len(drawable)} panels: "
        + ", ".join(label for label, _ in drawable)
        + ".",
        "Each dot is a network: up is more accurate, left is less like any original. Noised "
        "originals are drawn as the paper draws them, the original that each was made from among "
        "those it may resemble, which flatters generated networks; the open triangles show their "
        "means without it.",
        legend=True,
    )


def clouds_of(run: PaperRun) -> dict[str, Cloud]:
    """Read the groups that the figures show, in the order in which they are drawn."""
    arrays, found = run.tensors, {}
    for name in ("original", *NOISES, "generated"):
        if f"score/{name}" not in arrays or f"max_similarity/{name}" not in arrays:
            continue
        similarity = arrays[f"max_similarity/{name}"].float()
        without_source = None
        if name in NOISES:
            without_source = float(similarity.mean())
            if {"truth", "labels/original", f"labels/{name}"} <= arrays.keys():
                wrong, originals = (
                    (arrays[f"labels/{group}"] != arrays["truth"]).float()
                    for group in (name, "original")
                )
                similarity = maximum_similarity(wrong, originals)
        found[name] = Cloud(similarity.numpy(), arrays[f"score/{name}"].numpy(), without_source)
    return found


def common_view(of_panels: Sequence[dict[str, Cloud]]) -> View | None:
    """Find one view for all panels if that leaves each at least half of the height."""
    ranges = []
    for read in (_similarities, _accuracies):
        values = [np.concatenate([read(cloud) for cloud in one.values()]) for one in of_panels]
        ranges.append([(float(one.min()), float(one.max())) for one in values])
    (left, right), (bottom, top) = (
        (min(low for low, _ in one), max(high for _, high in one)) for one in ranges
    )
    if top - bottom > 2 * min(high - low for low, high in ranges[1]):
        return None
    width, height = 0.04 * (right - left or 0.01), 0.05 * (top - bottom or 0.01)
    return (left - width, right + width), (bottom - height, top + height)


def _accuracies(cloud: Cloud) -> np.ndarray:
    return cloud.score


def _similarities(cloud: Cloud) -> np.ndarray:
    return cloud.similarity[np.isfinite(cloud.similarity)]


def _panel(label: str, clouds: dict[str, Cloud], view: View | None) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.set_title(label, fontsize=9, loc="left")
        for name, cloud in clouds.items():
            kept = np.linspace(0, cloud.score.size - 1, min(NUM_DOTS, cloud.score.size))
            kept = kept.astype(int)
            style = method_of(name).style
            color = NOISES.get(name, style.color)
            axes.scatter(
                cloud.similarity[kept],
                cloud.score[kept],
                s=17,
                marker=style.marker,
                color=color,
                alpha=0.55,
                linewidths=0,
                label=label_of(name),
                rasterized=True,
            )
            if cloud.without_source is not None:
                axes.plot(
                    cloud.without_source,
                    cloud.score.mean(),
                    marker=style.marker,
                    markersize=9,
                    markerfacecolor="white",
                    markeredgecolor=color,
                    markeredgewidth=1.6,
                )
        percent_axis(axes, "y")
        axes.set_xlabel("maximum similarity to an original")
        axes.set_ylabel("test accuracy")
        if view is not None:
            axes.set(xlim=view[0], ylim=view[1])
        quiet_grid(axes)

    return draw
