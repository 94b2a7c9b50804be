"""Histograms of scores: originals, generated, and a Gaussian fit that spreads as widely."""

import numpy as np
from matplotlib.figure import Figure

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import label_of, method_of
from paramdiff.report.figures.diversity_plot import nearest_gaussian
from paramdiff.report.style import HALF, Arrays, Illustration, finite, illustrate
from paramdiff.report.text import ShownScore

NUM_BINS = 28


def accuracy_histograms(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the scores of single networks; None without those of the generated.

    Args:
        evaluation: says which Gaussian fit is nearest in dispersion.
        arrays: ``score/GROUP`` ``[M]``.

    Returns:
        The figure; None if an array is absent.
    """
    gaussian = nearest_gaussian(evaluation)
    names = ["original", "generated", *([gaussian] if gaussian else [])]
    samples = {
        name: values
        for name in names
        if (values := finite(arrays.get(f"score/{name}", ()))).size > 1
    }
    if "generated" not in samples:
        return None
    everything = np.concatenate(list(samples.values()))
    # A few networks at chance must not press all others into one bin.
    low, high = float(np.percentile(everything, 1)), float(everything.max())
    width = _bin_width(everything, high - low, evaluation.num_test)
    edges = low - width / 2 + width * np.arange(int((high - low) / width) + 2)

    score = ShownScore.of(evaluation)

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(len(samples), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, values) in zip(all_axes, samples.items(), strict=True):
            color = method_of(name).style.color
            share = np.full(values.size, 1 / values.size)
            axes.hist(
                np.clip(values, edges[0], None), edges, weights=share, color=color, alpha=0.75
            )
            axes.axvline(float(values.mean()), color=color, linewidth=1.4)
            title = f"{label_of(name)}, mean {score.text(float(values.mean()))}"
            axes.set_title(title, color=color, fontsize=8.5, loc="left", pad=3)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        score.label_axis(all_axes[-1], "x")
        all_axes[-1].set_xlabel(score.reported)

    return illustrate(
        draw,
        f"Histograms of {score.reported} of "
        + ", ".join(label_of(name) for name in samples)
        + ".",
        "Bars count single networks and the line is their mean; a generated group that is higher "
        "but narrower than the originals has moved towards their average.",
        (HALF[0], 3.7),
    )


def _bin_width(values: np.ndarray, span: float, num_test: int) -> float:
    """Return bin edges at whole examples if scores count examples, so that no bin is empty."""
    counts = values * num_test
    if np.allclose(counts, counts.round(), rtol=0, atol=0.01):
        step = 1 / max(num_test, 1)
        return step * max(1, round(span / NUM_BINS / step))
    return span / NUM_BINS or 1.0
