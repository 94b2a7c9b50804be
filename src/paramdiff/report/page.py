"""The last stage: ``evaluation.json`` and ``arrays.safetensors`` to ``report.html``.

The page is a pure function of the two files, and whole in itself: style and figures are inside
it, it runs no script and it fetches nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.frontier import AXES
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.methods.group_names import (
    in_reading_order,
    is_control,
    is_finished,
    label_of,
    method_of,
    role_of,
)
from paramdiff.report import text
from paramdiff.report.environment import template_of
from paramdiff.report.figures.diversity_plot import dispersion_by_component, dispersion_by_tensor
from paramdiff.report.figures.ensemble_plot import measured_scores, together
from paramdiff.report.figures.registry import draw_figures
from paramdiff.report.tables import differences, explanations, marks, metric_tables
from paramdiff.report.text import ShownScore
from paramdiff.storage import StrPath, read_tensors, write_text


@dataclass(frozen=True)
class KeyNumber:
    """A number in large type.

    Args:
        name: label.
        value: the number, as text.
        unit: in smaller type after it.
        against: numbers to compare it with.
        meaning: a definition for newcomers.
    """

    name: str
    value: str
    unit: str
    against: tuple[str, ...]
    meaning: str


def key_numbers(evaluation: Evaluation) -> list[KeyNumber]:
    """Return score, advantage over the deciding baseline, similarity and dispersion."""
    cards = [_score(evaluation), _advantage(evaluation), _similarity(evaluation)]
    return [card for card in [*cards, _dispersion(evaluation)] if card is not None]


def _score(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None:
        return None
    score = ShownScore.of(evaluation)
    against = [f"95% interval {score.interval(generated.score.ci95, 1)}"]
    for name, who in (("original", "originals"), ("held_out", "held-out checkpoints")):
        if name in evaluation.groups:
            mean = evaluation.groups[name].score.mean
            against.append(f"{who} {score.text(mean)}")
    drawn = f"{score.examples} and networks" if score.info.is_per_example else "networks alone"
    return KeyNumber(
        f"{score.title} of the generated networks",
        score.number(generated.score.mean),
        score.unit,
        tuple(against),
        f"Interval: bootstrap over {drawn}.",
    )


def _advantage(evaluation: Evaluation) -> KeyNumber | None:
    """Compare with the baseline that decided; without one, with the originals."""
    reference = evaluation.verdict.reference
    by_reference = {
        comparison.reference: comparison
        for comparison in evaluation.comparisons
        if comparison.group == "generated"
    }
    comparison = by_reference.get(reference or "original")
    if comparison is None:
        return None
    score, group = ShownScore.of(evaluation), evaluation.groups.get(comparison.reference)
    accuracy = f", {score.text(group.score.mean)}" if group else ""
    return KeyNumber(
        "Generated minus the strongest matched baseline"
        if reference
        else "Generated minus originals",
        score.difference(comparison.difference),
        score.points,
        (
            f"95% interval {score.difference_interval(comparison.ci95)}",
            f"the baseline: {label_of(comparison.reference)}{accuracy}"
            if reference
            else f"originals{accuracy}",
            *_beside_data(evaluation, score),
        ),
        _basis(score) if reference else "No baseline could be matched to the generated networks.",
    )


def _beside_data(evaluation: Evaluation, score: ShownScore) -> list[str]:
    """Say which data the generator used, and compare it with baselines of as much data."""
    generated = evaluation.groups["generated"]
    if generated.data_used == "none":
        return []
    data_matched = {
        one.reference: one
        for one in evaluation.comparisons
        if role_of(one.reference) == "data-matched baseline"
    }
    return [
        f"it used no labels, the generator {generated.data_used}",
        *(
            f"minus {label_of(name)}, with as much data: {score.difference(one.difference)}"
            for name, one in data_matched.items()
        ),
    ]


def _basis(score: ShownScore) -> str:
    counted = "Percentage points of" if score.info.is_fraction else "Difference in"
    paired = f", paired on the same {score.examples}" if score.info.is_per_example else ""
    return f"{counted} {score.name}{paired}."


def _similarity(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.max_similarity is None:
        return None
    against = []
    for name, who in (
        ("original", "originals to their nearest other"),
        ("held_out", "held-out ones"),
    ):
        group = evaluation.groups.get(name)
        if group is not None and group.max_similarity is not None:
            against.append(f"{who} {text.number(group.max_similarity.mean)}")
    if generated.copies:
        against.append(f"{round(generated.copies * generated.n)} of {generated.n} are copies")
    return KeyNumber(
        "Similarity to the nearest original",
        text.number(generated.max_similarity.mean),
        "IoU",
        tuple(against),
        "Overlap of the wrong predictions of two networks, intersection over union: 1 is "
        "identical mistakes, 0 none in common.",
    )


def _dispersion(evaluation: Evaluation) -> KeyNumber | None:
    generated = evaluation.groups.get("generated")
    if generated is None or generated.dispersion is None:
        return None
    return KeyNumber(
        "Dispersion of the generated parameters",
        text.number(generated.dispersion),
        "of the originals\u2019",
        (text.variety(generated.dispersion),),
        "Standard deviation of the parameters across networks, relative to that of "
        "the originals. 0 is one network repeated.",
    )


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
    """Return the groups in reading order, under the headings of the tables."""
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
