"""Scores of probabilities against hand-counted cases, torch, scikit-learn and planted errors."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score
from torch.nn import functional as F

from paramdiff.evaluation.calibration import (
    NUM_BINS,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    ood_auroc,
    reliability,
)

NUM_EXAMPLES, NUM_CLASSES = 20_000, 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def predictions(num=NUM_EXAMPLES, seed=0):
    return (2 * torch.randn(num, NUM_CLASSES, generator=generator(seed))).softmax(1)


def calibrated(num=NUM_EXAMPLES, seed=0):
    """Truth drawn from the predictions themselves."""
    probabilities = predictions(num, seed)
    truth = torch.multinomial(probabilities, 1, generator=generator(seed + 1))[:, 0]
    return probabilities, truth


def two_classes(confidence):
    """The first class gets the confidence."""
    return torch.stack([confidence, 1 - confidence], dim=1)


def test_calibrated_predictions_have_no_error_but_that_of_sampling():
    """In each bin accuracy scatters by sqrt(p (1 - p) / n); the mean of that is what is left."""
    probabilities, truth = calibrated()
    confidence = probabilities.max(1).values
    counts = torch.histc(confidence, NUM_BINS, 0, 1)
    centres = (torch.arange(NUM_BINS) + 0.5) / NUM_BINS
    errors = (centres * (1 - centres) / counts.clamp(min=1)).sqrt() * (2 / torch.pi) ** 0.5
    expected = float((counts / NUM_EXAMPLES * errors).sum())
    assert calibration_error(probabilities, truth) < 3 * expected < 0.03


@pytest.mark.parametrize("shift", [0.1, 0.2, -0.15])
def test_the_error_of_shifted_predictions_is_the_shift(shift):
    """All confidences are off by the same amount, in the same direction."""
    honest = 0.7 + 0.1 * torch.rand(NUM_EXAMPLES, generator=generator())
    truth = (torch.rand(NUM_EXAMPLES, generator=generator(1)) > honest).long()
    found = calibration_error(two_classes(honest + shift), truth)
    assert found == pytest.approx(abs(shift), abs=0.015)
    assert calibration_error(two_classes(honest), truth) < 0.015


def test_the_calibration_error_by_hand():
    # bins are 1/15 wide: 0.90 and 0.92 share one (from 13/15), 0.60 lies in that from 9/15
    probabilities = two_classes(torch.tensor([0.90, 0.92, 0.62, 0.62, 0.62]))
    truth = torch.tensor([0, 1, 0, 0, 1])
    expected = 2 / 5 * abs(0.91 - 1 / 2) + 3 / 5 * abs(0.62 - 2 / 3)
    assert calibration_error(probabilities, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_certainty_is_one_bin_with_the_nearly_certain(accuracy):
    """A saturated network: confidence exactly 1 belongs to the last bin, not to one of its own."""
    num_right = int(10 * accuracy)
    truth = torch.tensor([0] * num_right + [1] * (10 - num_right))
    certain = two_classes(torch.ones(10))
    assert calibration_error(certain, truth) == pytest.approx(1 - accuracy, abs=1e-6)
    # half of them certain and wrong, half nearly certain and right: in one bin they balance
    mixed = two_classes(torch.tensor([1.0] * 5 + [0.98] * 5))
    truth = torch.tensor([1] * 5 + [0] * 5)
    assert calibration_error(mixed, truth) == pytest.approx(0.99 - 0.5, abs=1e-6)


def test_brier_is_scikit_learns():
    probabilities, truth = calibrated(500)
    rows = probabilities.double()
    rows = rows / rows.sum(1, keepdim=True)
    expected = sum(  # of one class against the others: scikit-learn before 1.7 knows no more
        brier_score_loss((truth == label).numpy(), rows[:, label].numpy())
        for label in range(NUM_CLASSES)
    )
    assert brier_score(probabilities, truth) == pytest.approx(expected, abs=1e-6)


def test_brier_runs_from_0_to_2():
    assert brier_score(torch.eye(3), torch.arange(3)) == 0
    assert brier_score(torch.eye(3), torch.tensor([1, 2, 0])) == 2
    assert brier_score(torch.full((3, 3), 1 / 3), torch.arange(3)) == pytest.approx(2 / 3)


def test_the_likelihood_is_torchs():
    logits = torch.randn(300, NUM_CLASSES, generator=generator())
    truth = torch.randint(NUM_CLASSES, (300,), generator=generator(1))
    expected = F.cross_entropy(logits, truth, reduction="none")
    torch.testing.assert_close(negative_log_likelihood(logits.softmax(1), truth), expected)


def test_the_likelihood_of_the_impossible_is_large_and_finite():
    found = negative_log_likelihood(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert found[0] == 0
    assert 80 < found[1] < 100


def auroc(test, foreign):
    """Of two-class predictions with these confidences."""
    return ood_auroc(two_classes(torch.tensor([*test, *foreign])), len(test))


def test_auroc_by_hand():
    assert auroc([0.9, 0.8], [0.7, 0.6]) == 1
    assert auroc([0.6, 0.7], [0.8, 0.9]) == 0
    assert auroc([0.9, 0.6], [0.8, 0.7]) == 0.5
    assert auroc([0.9, 0.8, 0.6], [0.7]) == pytest.approx(2 / 3)
    assert auroc([0.8, 0.8], [0.8, 0.8]) == 0.5  # ties count half
    assert auroc([1.0, 1.0, 0.9], [1.0]) == pytest.approx(1 / 3)


def test_auroc_is_scikit_learns_and_the_share_of_pairs():
    probabilities = predictions(120)
    score = probabilities.max(1).values
    is_test = np.arange(120) < 70
    found = ood_auroc(probabilities, 70)
    assert found == pytest.approx(roc_auc_score(is_test, score.numpy()))
    pairs = (score[:70, None] > score[None, 70:]).double().mean()
    assert found == pytest.approx(float(pairs))


def test_reliability_is_accuracy_and_confidence_by_bin():
    probabilities, truth = calibrated(3000)
    confidence, label = probabilities.max(1)
    confidences, accuracies = reliability(probabilities, truth)
    edges = torch.linspace(0, 1, NUM_BINS + 1)
    expected = []
    for low, high in pairwise(edges):
        chosen = (confidence >= low) & (confidence < high)
        if chosen.any():
            right = (label == truth)[chosen]
            expected.append((float(confidence[chosen].mean()), float(right.float().mean())))
    torch.testing.assert_close(torch.tensor(expected).T, torch.stack([confidences, accuracies]))
    assert (confidences - accuracies).abs().max() < 0.15  # these predictions are calibrated


def test_certainty_is_in_the_last_bin():
    found = reliability(two_classes(torch.ones(4)), torch.tensor([0, 0, 0, 1]))
    assert found.tolist() == [[1.0], [0.75]]


def test_reliability_adds_up_to_the_calibration_error():
    probabilities, truth = calibrated(2000)
    sharp = probabilities**2 / (probabilities**2).sum(1, keepdim=True)  # too sure of itself
    confidence = sharp.max(1).values
    counts = torch.histc((confidence * NUM_BINS).floor(), NUM_BINS, 0, NUM_BINS)
    counts = counts[counts > 0] / 2000
    confidences, accuracies = reliability(sharp, truth)
    expected = float((counts * (confidences - accuracies).abs()).sum())
    assert calibration_error(sharp, truth) == pytest.approx(expected, abs=1e-5)
    assert expected > 0.05
