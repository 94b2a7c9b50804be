"""A metric is one entry of a registry: computed, stored, shown and explained from it."""

import re
from html import unescape

import pytest
from pydantic import ValidationError

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import read_evaluation, write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.base import Column, Metric
from paramdiff.evaluation.metrics.registry import METRICS
from paramdiff.report.page import write_report

from .linear import good, inputs_of, predictor

LARGEST_VALUE = Metric(
    name="largest_value",
    label="Largest value",
    section="New",
    type=float,
    of_vectors=lambda vectors, references: float(vectors.abs().max()),
    explanation="Largest absolute value of any parameter; it says little of {{ score.name }}.",
    columns=(Column("novelty", "Largest value", "{{ dash(value, 3) }}"),),
)
SCORE_RANGE = Metric(
    name="score_range",
    label="Range of scores",
    section="Good",
    type=float,
    needs=frozenset({"several networks"}),
    of_group=lambda measured, name: float(
        measured.scores(name).max() - measured.scores(name).min()
    ),
    explanation="The best score of a group minus its worst.",
    columns=(Column("groups", "Range of scores", "{{ dash(value, 4) }}"),),
)


@pytest.fixture
def more_metrics(monkeypatch):
    for metric in (LARGEST_VALUE, SCORE_RANGE):
        monkeypatch.setitem(METRICS, metric.name, metric)


def words_of(page):
    return unescape(re.sub(r"<[^>]*>", " ", page.partition("</style>")[2]))


@pytest.mark.usefixtures("more_metrics")
def test_a_metric_from_outside_is_computed_stored_shown_and_explained(tmp_path):
    evaluation, arrays = evaluate(inputs_of(good(6, 2)), predictor(), EvaluationSettings())
    write_evaluation(tmp_path, evaluation, arrays)
    again = read_evaluation(tmp_path / "evaluation.json")
    assert again == evaluation
    group = again.groups["generated"]
    assert group.largest_value > 0
    assert group.score_range == pytest.approx(group.score.max - group.score.min)
    assert again.groups["average@all"].score_range is None  # of a single network
    told = words_of(write_report(tmp_path).read_text())
    assert f"{group.largest_value:.3f}" in told and f"{group.score_range:.4f}" in told
    assert "Largest absolute value of any parameter; it says little of accuracy." in told
    assert "The best score of a group minus its worst." in told


def test_a_stored_metric_that_is_not_registered_is_refused(more_metrics, monkeypatch, tmp_path):
    evaluation, _ = evaluate(inputs_of(good(6, 2)), predictor(), EvaluationSettings())
    stored = evaluation.groups["generated"].model_dump(mode="json")
    assert Group.model_validate(stored) == evaluation.groups["generated"]
    monkeypatch.delitem(METRICS, "score_range")
    with pytest.raises(ValidationError, match="score_range is no registered metric"):
        Group.model_validate(stored)


def test_values_of_metrics_are_checked():
    stored = {"n": 1, "data_used": "none", "score": {"mean": 1}}
    with pytest.raises(ValidationError, match=r"score\.std: Field required"):
        Group.model_validate(stored)
    numbers = dict.fromkeys(("mean", "std", "min", "max", "median"), 0.5) | {"ci95": [0, 1]}
    group = Group.model_validate(stored | {"score": numbers, "dispersion": "0.5"})
    assert group.dispersion == 0.5 and group.copies is None
    for wrong in ("much", float("nan")):
        with pytest.raises(ValidationError, match="dispersion: "):
            Group.model_validate(stored | {"score": numbers, "dispersion": wrong})


def test_a_metric_is_computed_in_one_way():
    with pytest.raises(ValueError, match="either of_vectors or of_group"):
        Metric("none", "None", "New", float)


def test_every_metric_is_shown_and_nothing_is_explained_twice():
    own_place = {"max_similarity_with_source", "aligned"}
    own_place |= {"dispersion_per_tensor", "dispersion_in_components"}
    assert {name for name, metric in METRICS.items() if not metric.columns} == own_place
    labels = [metric.label for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)
