"""Figure 5b: accuracy of the decoded states of the reverse process, one line per seed."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from paramdiff.methods.group_names import method_of
from paramdiff.paper.panels import panels
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.report.style import Illustration, percent_axis, quiet_grid

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
        [_panel(label, run) for label, run in drawable],
        f"Accuracy along the reverse process, one line for each of {num_seeds} seeds.",
        "Accuracy of the networks decoded on the way from noise to a generated network, one line "
        "a seed; dashed, the originals' mean.",
        legend=False,
    )


def _panel(label: str, run: PaperRun) -> Callable[[Axes], None]:
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
