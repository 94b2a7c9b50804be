"""Small plots in tables: every interval on one scale."""

from typing import Any

import numpy as np

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.tables import differences, marks


def test_differences_share_a_scale_that_holds_zero(evaluation: dict[str, Any]):
    checked = Evaluation.model_validate(evaluation)
    placed, zero = differences(checked)
    values, places = [0.0], [zero]
    for comparison, mark in zip(checked.comparisons, placed, strict=True):
        assert mark is not None
        values += [comparison.ci95[0], comparison.difference, comparison.ci95[1]]
        places += [mark.low, mark.mean, mark.high]
    assert 2 <= min(places) < max(places) <= 98
    slope, offset = np.polyfit(values, places, 1)
    assert slope > 0
    np.testing.assert_allclose(places, slope * np.array(values) + offset, atol=0.02)


def test_what_has_learned_nothing_does_not_set_the_scale(evaluation: dict[str, Any]):
    untrained = evaluation["comparisons"][0] | {
        "reference": "random",
        "difference": 0.85,
        "ci95": [0.84, 0.86],
    }
    before, zero = differences(Evaluation.model_validate(evaluation))
    evaluation["comparisons"].append(untrained)
    checked = Evaluation.model_validate(evaluation)
    assert differences(checked) == ([*before, None], zero)
    assert marks(checked)["random"] is None
