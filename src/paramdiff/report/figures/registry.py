"""The figures of the page by name; a name without a figure leaves its section out."""

from collections.abc import Callable

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.figures.controllability_plot import requested
from paramdiff.report.figures.distribution_plot import accuracy_histograms
from paramdiff.report.figures.diversity_plot import component_figure, tensor_figure
from paramdiff.report.figures.ensemble_plot import ensemble_figure, reliability
from paramdiff.report.figures.finetuning_plot import finetuning_figure
from paramdiff.report.figures.frontier_plot import frontier_to_originals, frontier_within
from paramdiff.report.figures.similarity_plot import parameters, similarity_matrix
from paramdiff.report.figures.training_plot import codec_loss, cost, denoiser_loss, trajectory
from paramdiff.report.style import Arrays, Illustration

FIGURES: dict[str, Callable[[Evaluation, Arrays], Illustration | None]] = {
    "frontier_to_originals": frontier_to_originals,
    "frontier_within": frontier_within,
    "dispersion_by_tensor": tensor_figure,
    "dispersion_by_component": component_figure,
    "similarity": similarity_matrix,
    "parameters": parameters,
    "ensembles": ensemble_figure,
    "reliability": reliability,
    "finetuning_curves": finetuning_figure,
    "requested": requested,
    "histograms": accuracy_histograms,
    "trajectory": trajectory,
    "codec_loss": codec_loss,
    "denoiser_loss": denoiser_loss,
    "cost": cost,
}


def draw_figures(evaluation: Evaluation, arrays: Arrays) -> dict[str, Illustration]:
    """Draw every figure whose arrays are there.

    Args:
        evaluation: the numbers.
        arrays: what the figures draw, named as in ``paramdiff.evaluation.schema.ARRAYS``.

    Returns:
        Name to figure, in the order of the page.
    """
    drawn = {name: draw(evaluation, arrays) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}
