"""Figures of how alike networks are: who errs together, and parameters beside their nearest."""

import numpy as np
from matplotlib.figure import Figure

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import method_of
from paramdiff.report.style import HALF, INK, Arrays, Illustration, illustrate

ORIGINAL, GENERATED = method_of("original").style.color, method_of("generated").style.color


def similarity_matrix(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the similarity of originals and generated networks to one another.

    Args:
        evaluation: not used; figures share one signature.
        arrays: ``similarity`` ``[R, R]`` and ``similarity_num_original`` ``[1]``.

    Returns:
        The figure; None if an array is absent.
    """
    if not {"similarity", "similarity_num_original"} <= arrays.keys():
        return None
    matrix = np.array(arrays["similarity"])
    if matrix.ndim != 2 or min(matrix.shape) < 2:
        return None
    border = int(arrays["similarity_num_original"].ravel()[0])
    np.fill_diagonal(matrix, np.nan)  # a network with itself: 1, and it would set the scale
    off_diagonal = matrix[np.isfinite(matrix)]
    low, high = np.percentile(off_diagonal, [1, 99]) if off_diagonal.size else (0.0, 1.0)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        size = len(matrix)
        image = axes.imshow(
            np.nan_to_num(matrix, nan=high),
            cmap="cividis",
            vmin=low,
            vmax=max(high, low + 1e-3),
            interpolation="none",
        )
        for line in (axes.axhline, axes.axvline):
            line(border - 0.5, color="white", linewidth=2.5)
            line(border - 0.5, color=INK, linewidth=0.8)
        axes.set_xticks([]), axes.set_yticks([])
        axes.spines[:].set_visible(False)
        for center, name, color in (
            (border / 2, "originals", ORIGINAL),
            ((border + size) / 2, "generated", GENERATED),
        ):
            axes.text(center, -0.03 * size, name, color=color, ha="center", va="bottom")
            axes.text(
                -0.03 * size, center, name, color=color, ha="right", va="center", rotation=90
            )
        bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.03)
        bar.set_label("similarity (IoU)")
        bar.outline.set_visible(False)

    return illustrate(
        draw,
        "Heat map of the similarity of every network to every other, originals first.",
        "Each cell is the similarity of two networks. A bright block of generated networks means "
        "that they resemble one another more than the originals do; bright cells beyond the "
        "border are copies of originals.",
        (HALF[0], 3.7),
    )


def parameters(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw some generated parameters, each row above that of the nearest original.

    Args:
        evaluation: not used; figures share one signature.
        arrays: ``parameters/generated`` and ``parameters/nearest`` ``[4, 64]``.

    Returns:
        The figure; None if an array is absent.
    """
    if not {"parameters/generated", "parameters/nearest"} <= arrays.keys():
        return None
    generated, nearest = arrays["parameters/generated"], arrays["parameters/nearest"]
    if generated.shape != nearest.shape or generated.ndim != 2 or not generated.size:
        return None
    pairs = np.nan_to_num(np.stack([generated, nearest], axis=1))
    limit = float(np.percentile(np.abs(pairs), 99)) or 1.0

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(len(pairs), 1, squeeze=False)[:, 0]
        for axes, pair in zip(all_axes, pairs, strict=True):
            image = axes.imshow(
                pair, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none"
            )
            axes.set_xticks([])
            axes.set_yticks([0, 1], ["generated", "nearest"])
            axes.get_yticklabels()[0].set_color(GENERATED)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=list(all_axes), shrink=0.85, pad=0.02)
        bar.set_label("normalized value")
        bar.outline.set_visible(False)

    return illustrate(
        draw,
        "Values of generated parameters, each row above that of the nearest original.",
        f"{generated.shape[1]} parameters of {len(pairs)} generated networks, each above the same "
        "parameters of the original nearest to it: equal rows are a copy, paler ones contraction "
        "towards the average.",
    )
