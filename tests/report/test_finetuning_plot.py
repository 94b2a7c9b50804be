"""Curves of starting points are drawn where there are any."""

from typing import Any

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.figures.finetuning_plot import finetuning_figure


def test_one_line_for_each_group(evaluation: dict[str, Any]):
    assert finetuning_figure(Evaluation.model_validate(evaluation), {}) is None
    course = {"n": 5, "learning_rate": 0.02, "std": [0.01, 0.01]}
    evaluation["finetuning_curves"] = {
        "updates": [0, 30],
        "batch_size": 64,
        "groups": {
            "generated": course | {"score": [0.95, 0.96]},
            "random": course | {"score": [0.0, 1.0]},
        },
    }
    figure = finetuning_figure(Evaluation.model_validate(evaluation), {})
    assert figure.source.startswith("data:image/svg+xml")
    assert figure.alt == "Accuracy after 0 to 30 updates, one line for each of 2 groups."
