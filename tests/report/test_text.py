"""A task's own score on the page: by its name, in its own numbers, nowhere called accuracy."""

import re
from html import unescape
from typing import Any

import pytest
import torch

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.page import render
from paramdiff.report.tables import differences, lowest_shown, marks

NAME = "minus squared error"
SCALE = -3000.0


def _scaled(value: Any) -> Any:
    """Accuracies to minus errors: 0.95 is -150."""
    if isinstance(value, dict):
        return {key: _scaled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scaled(inner) for inner in value]
    return SCALE * (1 - value)


@pytest.fixture
def own(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The same run, of a task that scores errors and knows of nothing wrong."""
    evaluation["score_info"] = {
        "name": NAME,
        "is_fraction": False,
        "is_per_example": False,
        "has_errors": False,
    }
    for group in evaluation["groups"].values():
        std = group["score"].pop("std")
        group["score"] = _scaled(group["score"]) | {"std": -SCALE * std}
        for name in ("max_similarity", "max_similarity_with_source", "pairwise_similarity"):
            group[name] = None
    evaluation["groups"]["generated"]["seeds"] = None
    for comparison in evaluation["comparisons"]:
        comparison["difference"] *= -SCALE
        comparison["ci95"] = [-SCALE * bound for bound in comparison["ci95"]]
    for best in evaluation["best_of_n"].values():
        best |= {key: _scaled(best[key]) for key in ("validation_score", "test_score")}
    for frontier in evaluation["frontier"].values():
        frontier |= {"points": [], "at": None, "reference": None}
    evaluation |= {"ensembles": {}, "ensemble_comparisons": [], "ood": None, "recalibration": {}}
    evaluation["reconstruction"]["similarity_with_source"] = None
    evaluation["verdict"] |= {"sentences": ["Novelty is not measured."]}
    return evaluation


def _with_errors(own: dict[str, Any]) -> dict[str, Any]:
    """Each group has another similarity, so that both figures can be drawn."""
    own["score_info"]["has_errors"] = True
    for number, group in enumerate(own["groups"].values()):
        similarity = 0.5 + 0.02 * number
        same = {"mean": similarity, "std": 0.0, "min": similarity, "max": similarity}
        group |= {"max_similarity": same, "pairwise_similarity": similarity}
    return own


def _read(own: dict[str, Any], arrays: dict[str, Any] | None = None) -> str:
    page = render(Evaluation.model_validate(own), arrays or {}).partition("</style>")[2]
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", page).split()))


@pytest.mark.usefixtures("only_words")
def test_its_name_stands_where_accuracy_stood(own: dict[str, Any]):
    told = _read(own)
    assert "accura" not in told.lower()
    assert "Minus squared error of the generated networks \u2212149.40" in told
    assert f"Test {NAME}, mean \u00b1 std 95% interval of the mean the same" in told
    assert "\u2212153.00 \u00b1 12.0" in told  # the originals: 94.90 +- 0.40
    assert "+3.60" in told and not re.search(r"\bpoints\b", told)
    assert f"Test {NAME}" in told and f"Validation {NAME}" in told
    assert f"changes their mean {NAME} by +0.000300." in told


@pytest.mark.usefixtures("only_words")
def test_what_is_not_measured_is_said(own: dict[str, Any]):
    told = _read(own)
    assert "Good, and new?" not in told
    assert "Similarity is not measured: this task calls nothing right or wrong." in told
    assert "Without similarity there is no frontier." in told
    assert "Interval: bootstrap over networks alone." in told
    assert "over test examples" not in told
    own["score_info"]["is_per_example"] = True
    assert "Percentile bootstrap over test examples and over networks at once" in _read(own)


@pytest.mark.usefixtures("only_words")
def test_a_hostile_name_is_escaped(own: dict[str, Any]):
    own["score_info"]["name"] = "<script>alert(1)</script>"
    page = render(Evaluation.model_validate(_with_errors(own)), {})
    assert "<script" not in page and "&lt;script&gt;" in page


def test_figures_are_drawn_on_its_own_scale(own: dict[str, Any], arrays: dict[str, torch.Tensor]):
    drawn = {name: array.double().numpy() for name, array in arrays.items()}
    for name in drawn:
        if name.startswith(("score/", "trajectory/score")):
            drawn[name] = _scaled(drawn[name])
    page = render(Evaluation.model_validate(_with_errors(own)), drawn)
    for name in ("frontier_to_originals", "frontier_within", "histograms", "trajectory"):
        assert f'id="figure-{name}"' in page
    told = unescape(page)
    assert f"{NAME.capitalize()} against similarity to the nearest original." in told
    assert "The vertical axis" not in told
    assert re.search(r"Outside the view: .*Untrained values: \u22122697", told)


def test_what_is_far_below_does_not_set_the_scale(own: dict[str, Any]):
    checked = Evaluation.model_validate(own)
    assert -1000 < lowest_shown(checked) < -160
    placed = marks(checked)
    assert placed["random"] is None
    assert placed["generated"] is not None and placed["original"] is not None
    shown, zero = differences(checked)
    assert all(mark is not None for mark in shown) and 0 < zero < 100


@pytest.mark.usefixtures("only_words")
def test_another_fraction_is_told_in_percent(evaluation: dict[str, Any]):
    evaluation["score_info"] = {"name": "mean IoU"}
    told = _read(evaluation)
    assert "Mean IoU of the generated networks 95.02 %" in told
    assert "Test mean IoU, mean \u00b1 std, %" in told
    assert "The vertical axis is what is missing to 100% on a logarithmic scale" in told
    assert "Percentage points of mean IoU, paired on the same test examples." in told
