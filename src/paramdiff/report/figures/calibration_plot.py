"""Reliability of ensembles: accuracy against confidence."""

import numpy as np
from matplotlib.figure import Figure

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import in_reading_order, label_of, method_of
from paramdiff.report.style import (
    GRAY,
    HALF,
    Arrays,
    Illustration,
    illustrate,
    percent_axis,
    quiet_grid,
)

PREFIX = "reliability/"


def reliability(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the reliability of each group's largest ensemble.

    Args:
        evaluation: says how many networks the ensembles have.
        arrays: ``reliability/GROUP`` ``[2, bins]``, mean confidence and accuracy by bin.

    Returns:
        The figure; None where no array can be drawn.
    """
    lines = {
        name: arrays[PREFIX + name]
        for name in in_reading_order(evaluation.ensembles)
        if PREFIX + name in arrays and _is_drawable(arrays[PREFIX + name])
    }
    if not lines:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.9, linestyle=(0, (4, 3)))
        for name, (confidence, accuracy) in lines.items():
            style, is_generated = method_of(name).style, name == "generated"
            axes.plot(
                confidence,
                accuracy,
                color=style.color,
                marker=style.marker,
                label=_named(name, evaluation),
                linewidth=1.6 if is_generated else 1.0,
                markersize=6 if is_generated else 4,
                markeredgecolor="white",
                markeredgewidth=0.6,
                alpha=1 if is_generated else 0.75,
                zorder=4 if is_generated else 3,
            )
        axes.set_xlim(min(float(line[0].min()) for line in lines.values()) - 0.03, 1.02)
        axes.set_ylim(-0.03, 1.03)
        percent_axis(axes, "x")
        percent_axis(axes, "y")
        axes.set_xlabel("confidence: largest class probability")
        axes.set_ylabel("accuracy at that confidence")
        quiet_grid(axes)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.4, borderpad=0)

    return illustrate(
        draw,
        "Accuracy against confidence of the largest ensembles: "
        + ", ".join(_named(name, evaluation) for name in lines)
        + ".",
        "Below the dashed diagonal an ensemble is too sure of itself, above it too modest. Most "
        "test examples lie in the rightmost bins; bins of few examples scatter.",
        (HALF[0], 3.7),
    )


def _is_drawable(line: np.ndarray) -> bool:
    return line.ndim == 2 and len(line) == 2 and bool(line.size) and bool(np.isfinite(line).all())


def _named(name: str, evaluation: Evaluation) -> str:
    members = max(score.members for score in evaluation.ensembles[name])
    return f"{label_of(name)}, M = {members}"
