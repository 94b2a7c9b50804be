"""Figures of what happened along the way: losses, the reverse process, what the stages took."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import method_of
from paramdiff.report import text as words
from paramdiff.report.style import (
    GRAY,
    HALF,
    Arrays,
    Illustration,
    finite,
    illustrate,
    quiet_grid,
)
from paramdiff.report.text import ShownScore

NUM_POINTS = 240
ORIGINAL, GENERATED = method_of("original").style.color, method_of("generated").style.color


def codec_loss(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw ``losses/codec`` ``[steps]``; None if it is absent."""
    return _loss(arrays, "losses/codec", "codec")


def denoiser_loss(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw ``losses/denoiser`` ``[steps]``; None if it is absent."""
    return _loss(arrays, "losses/denoiser", "denoiser")


def _loss(arrays: Arrays, name: str, part: str) -> Illustration | None:
    losses = np.asarray(arrays.get(name, np.zeros(0)), dtype=float).ravel()
    drawable = np.isfinite(losses) & (losses > 0)  # a logarithm needs both
    steps, losses = np.arange(1, losses.size + 1)[drawable], losses[drawable]
    if losses.size < 2:
        return None
    pieces = np.array_split(np.arange(losses.size), min(NUM_POINTS, losses.size))
    middle = [float(steps[piece].mean()) for piece in pieces]
    typical = [float(np.median(losses[piece])) for piece in pieces]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        low = [float(losses[piece].min()) for piece in pieces]
        high = [float(losses[piece].max()) for piece in pieces]
        axes.fill_between(middle, low, high, color=GRAY, alpha=0.22, linewidth=0)
        axes.plot(middle, typical, color=ORIGINAL, linewidth=1.4)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0, float(steps[-1]))
        axes.set_xlabel("training step")
        axes.set_ylabel(f"training loss of the {part}")
        quiet_grid(axes)

    return illustrate(
        draw,
        f"Training loss of the {part}, from {typical[0]:.3g} to {typical[-1]:.3g}.",
        f"Training loss of the {part} on a logarithmic scale: the line is the median of "
        "neighboring steps, the band their range.",
    )


def trajectory(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw how good the decoded states of the reverse process are.

    Args:
        evaluation: the originals' score is drawn for reference.
        arrays: ``trajectory/timestep`` ``[S]`` and ``trajectory/score`` ``[seeds, S]``.

    Returns:
        The figure; None if an array is absent.
    """
    if not {"trajectory/timestep", "trajectory/score"} <= arrays.keys():
        return None
    timesteps = finite(arrays["trajectory/timestep"])
    accuracies = np.atleast_2d(arrays["trajectory/score"])
    if timesteps.size < 2 or accuracies.shape[1] != timesteps.size:
        return None
    if not np.isfinite(accuracies).all():
        return None
    score = ShownScore.of(evaluation)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(timesteps, accuracies.T, color=GENERATED, linewidth=1.2, alpha=0.65)
        axes.invert_xaxis()
        score.label_axis(axes, "y")
        axes.set_xlabel("diffusion timestep (noise on the left, 0 is the generated network)")
        axes.set_ylabel(score.reported)
        quiet_grid(axes)
        original = evaluation.groups.get("original")
        if original is not None:
            _reference(axes, original.score.mean)

    return illustrate(
        draw,
        f"{score.title} along the reverse process, one line for each of {len(accuracies)} seeds.",
        f"{score.title} of the networks decoded on the way from noise to a generated network, one "
        "line a seed.",
    )


def _reference(axes: Axes, accuracy: float) -> None:
    axes.axhline(accuracy, color=ORIGINAL, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "originals, mean",
        (0, accuracy),
        (2, -4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        color=ORIGINAL,
        va="top",
    )


def cost(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the time of every stage with its peak memory; None if no cost was kept."""
    stages = evaluation.cost
    if not stages:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        seconds = [stage.seconds for stage in stages.values()]
        axes.barh(range(len(stages)), seconds, height=0.55, color=ORIGINAL, alpha=0.8)
        for row, stage in enumerate(stages.values()):
            text = f"{words.duration(stage.seconds)}, {words.memory(stage.peak_memory_mb)}"
            axes.annotate(
                text, (stage.seconds, row), (5, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(stages)), list(stages))
        axes.set_xticks([])
        axes.set_xlim(0, (max(seconds) or 1.0) * 1.45)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.invert_yaxis()

    total = words.duration(sum(stage.seconds for stage in stages.values()))
    told = [
        f"{name} {words.duration(stage.seconds)}, {words.memory(stage.peak_memory_mb)}"
        for name, stage in stages.items()
    ]
    return illustrate(
        draw,
        f"Time and peak memory of {len(stages)} stages: {'; '.join(told)}.",
        f"Time of each stage, {total} in all, followed by its peak memory.",
        (HALF[0], 0.6 + 0.36 * len(stages)),
    )
