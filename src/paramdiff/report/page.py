"""The last stage: ``evaluation.json`` and ``arrays.safetensors`` to ``report.html``.

The page is a pure function of the two files, and whole in itself: style and figures are inside
it, it runs no script and it fetches nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.frontier import AXES
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.methods.group_names import (
    in_reading_order,
    is_control,
    is_finished,
    method_of,
    role_of,
)
from paramdiff.report.environment import template_of
from paramdiff.report.figures.diversity_plot import dispersion_by_component, dispersion_by_tensor
from paramdiff.report.figures.ensemble_plot import measured_scores, together
from paramdiff.report.figures.registry import draw_figures
from paramdiff.report.key_numbers import key_numbers
from paramdiff.report.tables import differences, explanations, marks, metric_tables
from paramdiff.report.text import ShownScore
from paramdiff.storage import StrPath, read_tensors, write_text

REPORT_FILE = "report.html"
DATA_MATCHED = "data-matched baseline"
TEMPLATE = "page.html.jinja"
NOT_DRAWN = ("labels/", "truth")
"""Arrays that no figure needs; they are the largest."""


def write_report(folder: StrPath) -> Path:
    """Draw the report of an evaluation.

    Args:
        folder: holds ``evaluation.json`` and ``arrays.safetensors``; the report joins them.

    Returns:
        The path of the report.

    Raises:
        UserError: one of the two files is missing or is not what it should be.
    """
    folder = Path(folder)
    evaluation = read_evaluation(folder / EVALUATION_FILE)
    arrays = {
        name: tensor.double().numpy()
        for name, tensor in read_tensors(folder / ARRAYS_FILE).items()
        if not name.startswith(NOT_DRAWN)
    }
    path = folder / REPORT_FILE
    write_text(path, render(evaluation, arrays))
    return path


def render(evaluation: Evaluation, arrays: Mapping[str, np.ndarray]) -> str:
    """Render the page.

    Args:
        evaluation: the numbers.
        arrays: what the figures draw, named as in ``paramdiff.evaluation.schema.ARRAYS``.

    Returns:
        The page, as HTML.
    """
    forest, zero = differences(evaluation)
    place = {name: row for row, name in enumerate(in_reading_order(evaluation.groups))}
    shown = ShownScore.of(evaluation)
    return template_of(TEMPLATE).render(
        evaluation=evaluation,
        score=shown,
        sections=_sections(evaluation),
        legend=_legend(evaluation),
        soups=[name for name in ("greedy_soup",) if name in evaluation.groups],
        data_matched=[name for name in evaluation.groups if role_of(name) == DATA_MATCHED],
        references=_references(evaluation),
        controls=[name for name in evaluation.groups if is_control(name)],
        metrics=metric_tables(evaluation, shown, marks(evaluation)),
        explanations=explanations(evaluation, shown),
        comparisons=sorted(
            zip(evaluation.comparisons, forest, strict=True),
            key=lambda pair: place.get(pair[0].reference, len(place)),
        ),
        zero=zero,
        axes=AXES,
        scores=measured_scores(evaluation),
        together=together(evaluation),
        dispersion_by_tensor=dispersion_by_tensor(evaluation),
        dispersion_by_component=dispersion_by_component(evaluation),
        key_numbers=key_numbers(evaluation),
        figures=draw_figures(evaluation, arrays),
    )


def _sections(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """The groups in reading order, under the headings of the tables."""
    names = in_reading_order(evaluation.groups)
    baselines = [name for name in names if role_of(name) == "baseline"]
    headings = {
        "Evaluated": [name for name in names if role_of(name) == "evaluated"],
        "Baselines (no generator)": [name for name in baselines if not is_finished(name)],
        "Baselines with re-estimated BatchNorm statistics": [
            name for name in baselines if is_finished(name)
        ],
        "Data-matched baselines (trained on as much data as the generator)": [
            name for name in names if role_of(name) == DATA_MATCHED
        ],
        "Controls": [name for name in names if is_control(name)],
    }
    return [(heading, members) for heading, members in headings.items() if members]


def _legend(evaluation: Evaluation) -> list[str]:
    """Return one group of every method, in reading order."""
    first: dict[str, str] = {}
    for name in in_reading_order(evaluation.groups):
        first.setdefault(method_of(name).name, name)
    return list(first.values())


def _references(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return label and reference of every method that has one, in reading order."""
    groups = evaluation.groups
    return [
        (method_of(name).label, reference)
        for name in _legend(evaluation)
        if (reference := groups[name].reference) is not None
    ]
