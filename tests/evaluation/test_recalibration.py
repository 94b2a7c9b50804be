"""What new BatchNorm statistics change, told of the same networks before and after."""

import pytest
import torch

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.recalibration import NUM_RECALIBRATED

from .linear import NUM_VALIDATION, data, good, inputs_of, labels, predictor


def recalibrated(generated, change, originals=None):
    """``change`` turns test labels into those after recalibration; also what was asked for."""
    asked = []

    def again(vectors):
        asked.append(vectors)
        found = labels(vectors)
        test = change(found[:, NUM_VALIDATION:])
        return torch.cat([found[:, :NUM_VALIDATION], test], dim=1)

    evaluation, _ = evaluate(
        inputs_of(generated, originals),
        predictor(reestimated=predictor(labels=again)),
        EvaluationSettings(recalibrate_batchnorm=True),
    )
    return evaluation, asked


def test_nothing_changes_where_nothing_changes():
    evaluation, _ = recalibrated(good(20, 3), lambda found: found)
    assert {"original", "generated", "average@all", "gaussian@1.0"} <= set(
        evaluation.recalibration
    )
    for name, found in evaluation.recalibration.items():
        assert (found.difference, found.ci95) == (0, (0, 0)), name
        assert found.before == found.after
    found = evaluation.recalibration["generated"]
    assert found.before == pytest.approx(evaluation.groups["generated"].score.mean)


def test_the_difference_is_that_of_the_same_networks():
    """Fifty test examples are right afterwards in every network, whatever they were before."""
    truth = data()[1][NUM_VALIDATION:]

    def mended(found):
        return torch.cat([truth[:50].expand(len(found), -1), found[:, 50:]], dim=1)

    generated = good(20, 3)
    evaluation, _ = recalibrated(generated, mended)
    found = evaluation.recalibration["generated"]
    wrong = (labels(generated)[:, NUM_VALIDATION:][:, :50] != truth[:50]).float().sum(1) / 400
    assert found.difference == pytest.approx(float(wrong.mean()), abs=1e-6)
    assert found.after - found.before == pytest.approx(found.difference, abs=1e-6)
    assert 0 < found.ci95[0] < found.difference < found.ci95[1]


def test_evenly_spaced_networks_of_large_groups_take_part():
    generated, originals = good(45, 3), good(30, 1)
    evaluation, asked = recalibrated(generated, lambda found: found, originals)
    numbers = {name: found.n for name, found in evaluation.recalibration.items()}
    assert numbers["generated"] == numbers["original"] == NUM_RECALIBRATED
    assert numbers["average@all"] == 1
    rows = torch.linspace(0, 44, NUM_RECALIBRATED).long()
    assert any(vectors.shape == (20, 15) and vectors.equal(generated[rows]) for vectors in asked)
    assert any(vectors.equal(originals[torch.linspace(0, 29, 20).long()]) for vectors in asked)
