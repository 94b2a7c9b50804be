"""Networks as starting points: score against the number of updates."""

import numpy as np
from matplotlib.figure import Figure

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import in_reading_order, label_of, method_of
from paramdiff.report.figures.score_scale import height_of
from paramdiff.report.style import HALF, Arrays, Illustration, illustrate, quiet_grid
from paramdiff.report.text import ShownScore


def finetuning_figure(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw what a few updates make of each group; None if that was not asked for.

    Args:
        evaluation: the numbers.
        arrays: not used; figures share one signature.

    Returns:
        The figure.
    """
    found, score = evaluation.finetuning_curves, ShownScore.of(evaluation)
    if found is None or not found.groups:
        return None
    places, height = range(len(found.updates)), height_of(score, evaluation.num_test)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name in in_reading_order(found.groups):
            style, is_generated = method_of(name).style, name == "generated"
            axes.plot(
                places,
                height(np.array(found.groups[name].score)),
                label=label_of(name),
                color=style.color,
                marker=style.marker,
                markersize=6 if is_generated else 4.5,
                linewidth=1.3,
                zorder=4 if is_generated else 3,
            )
        axes.set_xticks(places, [str(update) for update in found.updates])
        axes.set_xlabel("updates")
        axes.set_ylabel(score.reported)
        height.label(axes)
        figure.legend(loc="outside lower center", ncols=3)
        quiet_grid(axes)

    return illustrate(
        draw,
        f"{score.title} after {found.updates[0]} to {found.updates[-1]} updates, one line for "
        f"each of {len(found.groups)} groups.",
        f"Mean {score.reported} of a few networks of each group after so many updates, which are "
        "not evenly spaced; neither are errors, of which the axis shows the logarithm.",
        (HALF[0] + 1.0, HALF[1] + 0.4),
    )
