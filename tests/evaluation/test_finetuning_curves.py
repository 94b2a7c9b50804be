"""Every group is trained on the same batches, from where it is, and scored on the way."""

from dataclasses import replace

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.evaluation import finetuning_curves
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.methods.finetuning import LEARNING_RATES

from .linear import good, inputs_of, predictor, shifted, training, without_errors

UPDATES = (0, 1, 5, 20)
WANTED = EvaluationSettings(finetuning_curves=True)
GROUPS = {"original": 5, "held_out": 5, "generated": 3, "average@all": 1, "random": 3}


@pytest.fixture(scope="module", autouse=True)
def few_updates():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning_curves, "UPDATES", UPDATES)
        yield


@pytest.fixture(scope="module")
def counted(few_updates):
    """The starting points, the groups, and the rows of every update."""
    seen = []

    def logits(vector, rows):
        seen.append(rows.tolist())
        return training().logits(vector, rows)

    how = predictor(training=replace(training(), logits=logits))
    evaluation, _ = evaluate(inputs_of(good(3, 3)), how, WANTED)
    return evaluation.finetuning_curves, evaluation.groups, seen


def test_all_groups_start_where_they_are(counted):
    found, groups, _ = counted
    assert found.updates == UPDATES
    assert {name: one.n for name, one in found.groups.items()} == GROUPS
    for name in ("generated", "average@all", "random"):  # all of their networks
        assert found.groups[name].score[0] == pytest.approx(groups[name].score.mean)


def test_all_networks_see_the_same_batches(counted):
    found, _, seen = counted
    courses = [seen[start : start + UPDATES[-1]] for start in range(0, len(seen), UPDATES[-1])]
    assert len(courses) == sum(GROUPS.values()) * len(LEARNING_RATES)
    assert all(course == courses[0] for course in courses)
    assert {len(rows) for rows in courses[0]} == {found.batch_size}


def test_training_helps_who_knows_nothing_most(counted):
    found, _, _ = counted
    gained = {name: one.score[-1] - one.score[0] for name, one in found.groups.items()}
    assert max(gained, key=gained.get) == "random" and gained["random"] > 0.05
    assert found.groups["generated"].score[-1] > found.groups["random"].score[1] + 0.1


def test_validation_data_choose_the_learning_rate_of_each_group():
    """Where staying near is best, the least rate is."""
    generated = good(3, 3)
    starts = torch.cat([generated, good(30, 1), good(10, 2)])
    how = replace(training(), validation_loss=lambda raw: torch.cdist(raw, starts).amin(1))
    evaluation, _ = evaluate(inputs_of(generated), predictor(training=how), WANTED)
    rates = {name: one.learning_rate for name, one in evaluation.finetuning_curves.groups.items()}
    assert rates["generated"] == rates["original"] == rates["held_out"] == min(LEARNING_RATES)


def test_a_group_whose_training_diverges_is_left_out():
    average = shifted(30, 6).mean(0)

    def logits(vector, rows):
        far = (vector - average).abs().max() > 1.0
        return training().logits(vector, rows) * (torch.nan if far else 1.0)

    how = predictor(training=replace(training(), logits=logits))
    evaluation, _ = evaluate(inputs_of(shifted(3, 5), shifted(30, 6)), how, WANTED)
    assert set(evaluation.finetuning_curves.groups) == {"average@all"}


def test_other_tasks_are_refused_and_nothing_is_trained_unasked():
    with pytest.raises(UserError, match=r"finetuning_curves: expected a classification"):
        evaluate(inputs_of(good(3, 3)), without_errors(), WANTED)
    evaluation, _ = evaluate(inputs_of(good(3, 3)), predictor(), EvaluationSettings())
    assert evaluation.finetuning_curves is None
