"""Networks that guess: each is right on each example with probability one half, whatever it holds.

Nothing about them may be reported as better than 50 %: not the best of many, not a soup.
"""

import hashlib
import re
from functools import cache

import numpy as np
import pytest
import torch

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.report import style
from paramdiff.report.figures import ensemble_plot, frontier_plot
from paramdiff.report.page import render
from paramdiff.runs.predictors import build_predictor
from paramdiff.tasks.user_task import ScoringFunctions, import_scoring
from paramdiff.zoo.zoo import Zoo, ZooIndex

NUM_EXAMPLES, NUM_NETWORKS, SIZE = 200, 40, 6
BASE = {"weight": torch.zeros(SIZE)}
LAYOUT = ParameterLayout.of(BASE, ["weight"])


def coins(values, salt):
    """``[NUM_EXAMPLES]`` bool; another network, or another salt, is another draw."""
    digest = hashlib.blake2b(values.numpy().tobytes() + salt.encode(), digest_size=7).digest()
    draws = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
    return torch.rand(NUM_EXAMPLES, generator=draws) < 0.5


def bits(state_dict):
    """Score every example."""
    return coins(state_dict["weight"], "")


def share(state_dict):
    """Score all examples by one number."""
    return float(bits(state_dict).double().mean())


def flipping(salt=""):
    """Validation and test are draws apart."""

    def flipped(vectors, split):
        return torch.stack([coins(vector, f"{split}{salt}") for vector in vectors.float()])

    def predict(vectors):
        test = flipped(vectors, "test")
        return Predictions(flipped(vectors, "validation"), test, ~test)

    def predict_validation(vectors):
        found = flipped(vectors, "validation")
        return ValidationPredictions(found, ~found)

    return Predictor(NUM_EXAMPLES, NUM_EXAMPLES, predict, predict_validation)


def zoo():
    draws = torch.Generator().manual_seed(1)
    vectors = torch.randn(NUM_NETWORKS, SIZE, generator=draws)
    index = ZooIndex(layout=LAYOUT.to_json(), hold_out="none", checkpoints=[])
    return Zoo(vectors, vectors[:0], LAYOUT, BASE, index)


def inputs_of(seed=2):
    draws = torch.Generator().manual_seed(seed)
    made = zoo()
    return EvaluationInputs(
        layout=LAYOUT,
        originals=made.originals,
        held_out=made.held_out,
        generated=torch.randn(NUM_NETWORKS, SIZE, generator=draws),
        hold_out="none",
        runs=torch.arange(NUM_NETWORKS),
        title="coins",
        facts={},
    )


@cache
def of_scoring_function():
    """As ``paramdiff compare --score-fn`` does: one function both selects and is reported."""
    return judged_by("bits")


def judged_by(name):
    """The evaluation by a function of this file."""
    task = import_scoring(ScoringFunctions(f"{__file__}:{name}"))(BASE)
    predictor = build_predictor(task, zoo(), torch.device("cpu"))
    return evaluate(inputs_of(), predictor, EvaluationSettings())[0]


def spoken(evaluation):
    verdict = evaluation.verdict
    return " ".join([verdict.headline, *verdict.sentences, *verdict.warnings])


def test_where_selection_and_report_share_data_no_choice_is_reported():
    evaluation = of_scoring_function()
    assert evaluation.score_info.selects_on_test
    assert evaluation.best_of_n == {} and "greedy_soup" not in evaluation.groups
    assert not any(group.data_split == "validation" for group in evaluation.groups.values())
    assert (
        "greedy_soup (its choice and its score would share data)" in evaluation.facts["Left out"]
    )
    assert "Selected and scored on the same data" in evaluation.verdict.warnings[0]
    told = spoken(evaluation).replace("Selected and scored on the same data", "")
    assert "test data" not in told and "test example" not in told
    assert told.lower().count("best of") == 1  # which says that it is left out
    for group in evaluation.groups.values():
        assert group.score.mean == pytest.approx(0.5, abs=0.12 if group.n < 5 else 0.03)


def test_the_page_of_such_an_evaluation_says_it_once_and_speaks_of_no_choice(monkeypatch):
    for module in (style, ensemble_plot, frontier_plot):
        monkeypatch.setattr(module, "embed", lambda draw, size: "data:,")
    page = render(of_scoring_function(), {}).partition("</style>")[2]
    told = re.sub(r"<[^>]*>", " ", page)
    assert "One network, chosen" not in told and "Each choice is scored once" not in told
    assert not re.search(r"(?i)test (data|examples|accuracy)", told)
    assert not re.search(r"\b56\.\d", spoken(of_scoring_function()))


def test_one_number_for_each_network_is_no_test_set_of_one_example():
    evaluation = judged_by("share")
    assert evaluation.score_info.selects_on_test and not evaluation.score_info.is_per_example
    assert evaluation.best_of_n == {}
    assert "intervals cover the draw of networks but not that of examples" in spoken(evaluation)


def test_with_data_set_apart_the_best_of_many_coins_is_worth_a_coin():
    """The chosen one's score is an honest draw about 50 %, as its interval says."""
    scores, covered, chosen_by = [], 0, []
    for salt in range(6):
        evaluation = evaluate(inputs_of(), flipping(str(salt)), EvaluationSettings(seed=salt))[0]
        assert not evaluation.score_info.selects_on_test
        for name in ("generated", "original"):
            best = evaluation.best_of_n[name]
            scores.append(best.test_score)
            chosen_by.append(best.validation_score)
            covered += best.ci95[0] <= 0.5 <= best.ci95[1]
        (sentence,) = (one for one in evaluation.verdict.sentences if "best of 40" in one)
        assert "greedy soup" in sentence and sentence.count("[") == 3
        assert "on test data" in sentence
    assert np.mean(scores) == pytest.approx(0.5, abs=4 * 0.0354 / len(scores) ** 0.5)
    assert np.mean(chosen_by) > 0.55  # what it would have been, had the same data been reported
    assert covered >= len(scores) - 2
