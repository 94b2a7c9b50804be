"""The two main figures say which baseline decides, and what they do not show."""

import re
from typing import Any

import numpy as np
import pytest

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.registry import METHODS
from paramdiff.report.figures.frontier_plot import frontier_to_originals, frontier_within
from paramdiff.report.style import outline

pytestmark = pytest.mark.usefixtures("only_words")


def _captions(evaluation: dict[str, Any]) -> list[str]:
    checked = Evaluation.model_validate(evaluation)
    figures = [frontier_to_originals(checked, {}), frontier_within(checked, {})]
    return [figure.caption for figure in figures if figure is not None]


def test_captions_name_the_best_that_is_as_dissimilar(evaluation: dict[str, Any]):
    to_originals, within = _captions(evaluation)
    best = "baseline on validation data is Average of all originals (ringed): 95.30% at 0.87; the"
    assert best in to_originals
    assert "is Gaussian fit, scale 0.5 (ringed): 95.10% at 0.84; the generated" in within
    for caption in (to_originals, within):
        assert "generated networks 95.02% at 0." in caption
        assert re.search(r"Outside the view: .*Untrained values: 10\.1% at", caption)


def test_captions_say_where_nothing_is_as_dissimilar(evaluation: dict[str, Any]):
    evaluation["frontier"]["max_similarity"]["reference"] = None
    to_originals, within = _captions(evaluation)
    assert "No baseline matches the generated networks" in to_originals
    assert "in novelty, so none is compared with them here." in to_originals
    assert "ringed" not in to_originals
    assert "ringed" in within


def test_one_generated_network_has_no_similarity_within(evaluation: dict[str, Any]):
    evaluation["groups"]["generated"]["pairwise_similarity"] = None
    assert len(_captions(evaluation)) == 1


@pytest.mark.parametrize("name", METHODS)
def test_markers_are_closed_shapes_of_one_size(name: str):
    path = outline(METHODS[name].style.marker)
    assert re.fullmatch(r"(M[-\d. e]+|L[-\d. e]+|C[-\d. e]+|Z)+", path)
    numbers = np.array([float(number) for number in re.findall(r"-?\d+\.?\d*", path)])
    assert 0.25 <= np.abs(numbers).max() <= 0.75
