"""Figures of ensembles: their scores against their size, and their reliability."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from paramdiff.evaluation.comparison_schema import EnsembleComparison, EnsembleScore
from paramdiff.evaluation.schema import Evaluation
from paramdiff.evaluation.score_info import NEGLIGIBLE
from paramdiff.methods.group_names import in_reading_order, label_of, method_of, phrase_of
from paramdiff.report import text
from paramdiff.report.style import (
    GRAY,
    HALF,
    Arrays,
    Illustration,
    Size,
    embed,
    illustrate,
    percent_axis,
    quiet_grid,
)

NARROW_WIDTH = 3.9
WIDE: Size = (11.3, 2.9)


@dataclass(frozen=True)
class Panel:
    """A column of the table and a panel of the figure.

    Args:
        field: of ``EnsembleScore``.
        name: what it is.
        better: which end is better.
        is_fraction: whether it is shown in percent.
    """

    field: str
    name: str
    better: str
    is_fraction: bool = False

    def interval(self, score: EnsembleScore) -> str | None:
        """Its 95% interval, in words; None if it has none."""
        found: tuple[float, float] | None = getattr(score, f"{self.field}_ci95", None)
        if found is None:
            return None
        factor, digits = (100, 2) if self.is_fraction else (1, 3)
        low, high = (text.number(factor * bound, digits) for bound in found)
        return f"{low} to {high}"

    def of(self, score: EnsembleScore) -> float | None:
        """Return the value; None if it was not measured."""
        value: float | None = getattr(score, self.field)
        return value


SCORES = (
    Panel("accuracy", "Accuracy", "higher", is_fraction=True),
    Panel("ood_auroc", "OOD AUROC", "higher"),
    Panel("nll", "NLL", "lower"),
    Panel("nll_calibrated", "NLL, calibrated", "lower"),
    Panel("ece", "ECE", "lower"),
    Panel("ece_calibrated", "ECE, calibrated", "lower"),
    Panel("brier", "Brier score", "lower"),
)
"""OOD AUROC stands beside accuracy, as an ensemble that gains in one may lose in the other."""


def measured_scores(evaluation: Evaluation) -> list[Panel]:
    """List the scores that at least one ensemble has."""
    every = [score for scores in evaluation.ensembles.values() for score in scores]
    return [column for column in SCORES if any(column.of(score) is not None for score in every)]


def ensemble_figure(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw every score against the number of networks; None if no ensembles were scored.

    Args:
        evaluation: the scores.
        arrays: not used; figures share one signature.

    Returns:
        The figure, in a wide and in a narrow drawing.
    """
    panels = measured_scores(evaluation)
    if not panels:
        return None

    def draw(figure: Figure) -> None:
        columns = len(panels) if figure.get_figwidth() > NARROW_WIDTH else 2
        rows = -(-len(panels) // columns)
        cells = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(cells, panels, strict=False):
            _panel(axes, panel, evaluation)
        for axes in cells[len(panels) :]:
            axes.set_axis_off()
        handles, labels = cells[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, 4))

    largest = {name: scores[-1] for name, scores in evaluation.ensembles.items() if scores}
    return Illustration(
        source=embed(draw, WIDE),
        narrow=embed(draw, (NARROW_WIDTH, 0.5 + 1.75 * -(-len(panels) // 2))),
        width=round(WIDE[0] * 96),
        alt="Scores of ensembles against their size. Accuracy of the largest: "
        + "; ".join(
            f"{score.members} of {label_of(name)} {text.percent(score.accuracy)}"
            for name, score in largest.items()
        )
        + ".",
        caption="Scores of the mean class probabilities of M networks, against M. A group that "
        "gains little has members that err alike. A single network is drawn as a dotted line.",
    )


def together(evaluation: Evaluation) -> list[str]:
    """Format the paired comparisons at the largest size that both sides have, in text."""
    largest: dict[str, EnsembleComparison] = {}
    for comparison in evaluation.ensemble_comparisons:
        known = largest.get(comparison.reference)
        if known is None or comparison.members > known.members:
            largest[comparison.reference] = comparison
    return [_in_words(largest[name]) for name in in_reading_order(largest)]


def _in_words(comparison: EnsembleComparison) -> str:
    low, high = comparison.accuracy_ci95
    accuracy = "more accurate than" if low > 0 else "less accurate than"
    if low <= 0 <= high or abs(comparison.accuracy) < NEGLIGIBLE:
        accuracy = "not distinguishable in accuracy from"
    count, other = comparison.members, phrase_of(comparison.reference)
    sides = (
        ("One generated network is", other)
        if count == 1
        else (f"An ensemble of {count} generated networks is", f"one of {count} of {other}")
    )
    parts = [
        f"{sides[0]} {accuracy} {sides[1]} ({text.points(comparison.accuracy)} points, 95% "
        f"interval {text.points_interval(comparison.accuracy_ci95)})"
    ]
    if comparison.ood_auroc is not None and comparison.ood_auroc_ci95 is not None:
        parts.append(f"OOD AUROC {_difference(comparison.ood_auroc, comparison.ood_auroc_ci95)}")
    nll = f"NLL {_difference(comparison.nll, comparison.nll_ci95)}"
    if comparison.nll_calibrated is not None and comparison.nll_calibrated_ci95 is not None:
        calibrated = _difference(comparison.nll_calibrated, comparison.nll_calibrated_ci95)
        nll += f", and at temperatures chosen on validation data {calibrated}"
    return "; ".join([*parts, f"{nll}."])


def _difference(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    kind = "not distinguishable" if low <= 0 <= high else "higher" if low > 0 else "lower"
    return f"{kind} ({text.signed(value, 3)}, {text.signed_interval(interval, 3)})"


def _panel(axes: Axes, panel: Panel, evaluation: Evaluation) -> None:
    sizes = sorted({score.members for group in evaluation.ensembles.values() for score in group})
    axes.set_xscale("log")
    for name in in_reading_order(evaluation.ensembles):
        style = method_of(name).style
        points = [
            (score.members, value)
            for score in evaluation.ensembles[name]
            if (value := panel.of(score)) is not None
        ]
        if not points:
            continue
        if len(points) == 1:
            axes.axhline(points[0][1], color=style.color, linewidth=1, linestyle=":")
        axes.plot(
            *zip(*points, strict=True),
            label=label_of(name),
            color=style.color,
            marker=style.marker,
            markersize=6 if name == "generated" else 4.5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            linewidth=1.3,
            zorder=4 if name == "generated" else 3,
        )
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(f"{panel.name}: {panel.better} is better", fontsize=7.5, loc="left")
    axes.set_xlabel("M", labelpad=1)
    if panel.is_fraction:
        percent_axis(axes, "y")
    axes.locator_params(axis="y", nbins=5)
    quiet_grid(axes)


PREFIX = "reliability/"


def reliability(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the reliability of each group's largest ensemble.

    Args:
        evaluation: says how many networks the ensembles have.
        arrays: ``reliability/GROUP`` ``[2, bins]``, mean confidence and accuracy by bin.

    Returns:
        The figure; None if no array can be drawn.
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
