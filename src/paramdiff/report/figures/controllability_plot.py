"""Requested and achieved values of a conditional generator."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paramdiff.evaluation.further_schema import Controllability
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import method_of
from paramdiff.report.style import GRAY, HALF, Arrays, Illustration, illustrate, quiet_grid
from paramdiff.report.text import ShownScore

GENERATED, HELD_OUT = method_of("generated").style.color, method_of("held_out").style.color
RANGE = "#eef0f2"
SCORE = "score"
"""The condition whose values are scores, on validation data."""


def requested(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw requested against obtained, one panel for each numeric condition.

    Args:
        evaluation: what was obtained.
        arrays: none is needed.

    Returns:
        The figure; None if nothing was asked for.
    """
    conditions, score = evaluation.controllability, ShownScore.of(evaluation)
    if not conditions:
        return None

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(conditions), squeeze=False)[0]
        for axes, (name, obtained) in zip(panels, conditions.items(), strict=True):
            _panel(axes, name, obtained, score)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, borderpad=0)

    names = [called(name, score) for name in conditions]
    diagonal = " On the dashed line networks are as they were asked for." * (SCORE in conditions)
    return illustrate(
        draw,
        f"Mean {score.name} obtained at each requested {' and '.join(names)}.",
        "The gray band is the range of the zoo; beyond it the generator extrapolates. Bars are "
        f"standard deviations over networks.{diagonal}",
        (HALF[0] * len(conditions), 3.7),
    )


def called(name: str, score: ShownScore) -> str:
    """A condition's name for people: that of the score, where its values are scores."""
    return score.name if name == SCORE else name


def _panel(axes: Axes, name: str, obtained: Controllability, score: ShownScore) -> None:
    asked = [level.requested for level in obtained.levels]
    axes.axvspan(obtained.low, obtained.high, color=RANGE, linewidth=0)
    if name == SCORE:
        axes.axline((asked[0], asked[0]), slope=1, color=GRAY, linewidth=0.9, linestyle="--")
        score.label_axis(axes, "x")
    axes.errorbar(
        asked,
        [level.score for level in obtained.levels],
        [level.std for level in obtained.levels],
        color=GENERATED,
        marker="D",
        markersize=5,
        linewidth=1.4,
        elinewidth=0.8,
        label=score.reported,
    )
    axes.plot(
        asked,
        [level.validation for level in obtained.levels],
        color=HELD_OUT,
        marker="s",
        markersize=4,
        linewidth=1.0,
        label=f"validation {score.name}",
    )
    score.label_axis(axes, "y")
    axes.set_xlabel(f"requested {called(name, score)}")
    axes.set_ylabel(f"obtained {score.name}")
    quiet_grid(axes)
