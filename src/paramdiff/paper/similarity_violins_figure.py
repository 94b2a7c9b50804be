"""Figure 5c: the distribution of maximum similarity, setting by setting."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from paramdiff.methods.group_names import label_of, method_of
from paramdiff.paper.panels import panels
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.report.style import Illustration, finite, quiet_grid

WIDTH = 0.8


def similarity_violins_figure(runs: Sequence[tuple[str, PaperRun]]) -> Illustration | None:
    """Draw a violin of the originals and one of the generated networks for each setting.

    Args:
        runs: labels and runs.

    Returns:
        The figure; None if there is no run.
    """
    drawable = [(label, run) for label, run in runs if _similarities(run, "generated").size]
    if not drawable:
        return None

    def panel(group: str) -> "Panel":
        return Panel(group, [(label, _similarities(run, group)) for label, run in drawable])

    return panels(
        [panel("original"), panel("generated")],
        "Violins of maximum similarity of originals and of generated networks by "
        f"{len(drawable)} numbers of originals.",
        "Maximum similarity to an original: of the originals to the others of their set, and of "
        "the generated networks. The bar is the median; a lower violin is less like any original.",
        legend=False,
    )


class Panel:
    """One group's violins, from left to right."""

    def __init__(self, group: str, values: Sequence[tuple[str, np.ndarray]]) -> None:
        self._group, self._values = group, values

    def __call__(self, axes: Axes) -> None:
        """Draw the violins."""
        color = method_of(self._group).style.color
        axes.set_title(label_of(self._group), color=color, fontsize=9, loc="left")
        for place, (_, values) in enumerate(self._values):
            if values.size > 1 and np.ptp(values) > 0:
                parts = axes.violinplot(
                    values, [place], widths=WIDTH, showextrema=False, showmedians=False
                )
                for body in parts["bodies"]:  # type: ignore[attr-defined]
                    body.set(facecolor=color, alpha=0.45, edgecolor=color)
            if values.size:
                median = float(np.median(values))
                axes.hlines(median, place - WIDTH / 3, place + WIDTH / 3, color, linewidth=2)
                axes.annotate(
                    f"{median:.3f}",
                    (place, median),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                )
        axes.set_xticks(range(len(self._values)), [label.split()[0] for label, _ in self._values])
        axes.set_xlim(-0.6, len(self._values) - 0.4)
        axes.set_xlabel("originals to learn from")
        axes.set_ylabel("maximum similarity")
        quiet_grid(axes, "y")


def _similarities(run: PaperRun, group: str) -> np.ndarray:
    return finite(run.tensors.get(f"max_similarity/{group}", np.zeros(0)))
