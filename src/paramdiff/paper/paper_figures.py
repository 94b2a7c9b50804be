"""Figures of the paper, side by side on a wide screen and stacked on a phone."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from paramdiff.methods.group_names import label_of, method_of
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.report.style import INK, Illustration, embed, finite, percent_axis, quiet_grid

WIDE, NARROW = 11.6, 4.2
"""Inches: of all panels beside each other, and of one on a phone."""
PANEL_HEIGHT = 3.2


def panels(
    draw: Sequence[Callable[[Axes], None]], alt: str, caption: str, *, legend: bool
) -> Illustration:
    """Draw one figure of several panels, in a wide and in a narrow form.

    Args:
        draw: fills each panel.
        alt: text for readers who cannot see the figure.
        caption: how to read it.
        legend: if the first panel's labels are explained above the panels.

    Returns:
        The figure.
    """
    count = len(draw)
    columns = min(count, 4)
    width = min(WIDE, 4.7 if count == 1 else 3.9 * columns)

    def drawn(rows: int, across: int) -> Callable[[Figure], None]:
        def fill(figure: Figure) -> None:
            for place, panel in enumerate(draw):
                panel(figure.add_subplot(rows, across, place + 1))
            if legend:
                handles, labels = figure.axes[0].get_legend_handles_labels()
                in_row = {1: 2, 2: 3}.get(across, len(labels))  # what its width holds
                figure.legend(
                    handles, labels, loc="outside upper left", ncols=in_row, markerscale=1.8
                )

        return fill

    rows = -(-count // columns)
    top = (0.35 if columns > 2 else 0.6) if legend else 0.0
    wide = embed(drawn(rows, columns), (width, top + PANEL_HEIGHT * rows))
    narrow = embed(
        drawn(count, 1), (NARROW, (0.8 if legend else 0.0) + 0.9 * PANEL_HEIGHT * count)
    )
    return Illustration(wide, round(width * 96), alt, caption, narrow)


GAP = 3
"""Rows between the halves."""


def parameter_traces_figure(runs: Sequence[tuple[str, PaperRun]]) -> Illustration | None:
    """Draw the reverse process and the training of the first run that recorded them.

    Args:
        runs: labels and runs.

    Returns:
        The figure; None if no run recorded the values.
    """
    for _, run in runs:
        arrays = run.tensors
        if {"parameter_traces/training", "parameter_traces/num_weights"} <= arrays.keys():
            break
    else:
        return None
    training = arrays["parameter_traces/training"].numpy()
    num_weights = int(arrays["parameter_traces/num_weights"][0])
    parts = [("training: first to last checkpoint", training)]
    if "parameter_traces/reverse" in arrays:
        parts.insert(
            0, ("reverse process: noise to network", arrays["parameter_traces/reverse"].numpy())
        )
    return panels(
        [_traces_panel(title, values, training, num_weights) for title, values in parts],
        f"Heat maps of {training.shape[1]} parameters: " + "; ".join(title for title, _ in parts),
        "Each row is a parameter, weights above and biases below; time runs to the right. Red "
        "lies above and blue below the mean of the trained weights, or biases; full color is "
        "three of their standard deviations.",
        legend=False,
    )


def _traces_panel(
    title: str, values: np.ndarray, training: np.ndarray, num_weights: int
) -> Callable[[Axes], None]:
    halves = {
        name: (values[:, half].T - training[:, half].mean()) / (training[:, half].std() or 1.0)
        for name, half in (
            ("weights", slice(num_weights)),
            ("biases", slice(num_weights, None)),
        )
        if training[:, half].size
    }
    gap = np.full((GAP, len(values)), np.nan)
    image = np.concatenate([part for half in halves.values() for part in (half, gap)][:-1])

    def draw(axes: Axes) -> None:
        axes.set_title(title, fontsize=9, loc="left")
        axes.imshow(
            image, cmap="RdBu_r", norm=TwoSlopeNorm(0, -3, 3), aspect="auto", interpolation="none"
        )
        axes.set_xticks([])
        centres, start = [], 0
        for half in halves.values():
            centres.append(start + len(half) / 2)
            start += len(half) + GAP
        axes.set_yticks(centres, list(halves), color=INK, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw


COLORS = ("#d55e00", "#0072b2", "#009e73", "#a4527f", "#b87900")


def reverse_process_figure(runs: Sequence[tuple[str, PaperRun]]) -> Illustration | None:
    """Draw one panel per setting.

    Args:
        runs: labels and runs.

    Returns:
        The figure; None if no run recorded its reverse process.
    """
    drawable = [
        (label, run)
        for label, run in runs
        if {"trajectory/timestep", "trajectory/score"} <= run.tensors.keys()
    ]
    if not drawable:
        return None
    num_seeds = len(drawable[0][1].tensors["trajectory/score"])
    return panels(
        [_reverse_panel(label, run) for label, run in drawable],
        f"Accuracy along the reverse process, one line for each of {num_seeds} seeds.",
        "Accuracy of the networks decoded on the way from noise to a generated network, one line "
        "a seed; dashed, the originals' mean.",
        legend=False,
    )


def _reverse_panel(label: str, run: PaperRun) -> Callable[[Axes], None]:
    timesteps = run.tensors["trajectory/timestep"].numpy()
    accuracies = np.atleast_2d(run.tensors["trajectory/score"].numpy())

    def draw(axes: Axes) -> None:
        axes.set_title(label, fontsize=9, loc="left")
        for seed, accuracy in enumerate(accuracies):
            axes.plot(timesteps, accuracy, color=COLORS[seed % len(COLORS)], linewidth=1.2)
        axes.axhline(
            run.evaluation.groups["original"].score.mean,
            color=method_of("original").style.color,
            linewidth=1,
            linestyle=(0, (4, 3)),
        )
        axes.invert_xaxis()
        percent_axis(axes, "y")
        axes.set_xlabel("diffusion timestep (0 is the generated network)")
        axes.set_ylabel("test accuracy")
        quiet_grid(axes)

    return draw


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
