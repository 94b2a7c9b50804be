"""Scores of class probabilities ``[E, K]``: are they right, sure, and sure for good reason?"""

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

NUM_BINS = 15
_ALMOST_ONE = 1 - 1e-7  # torchmetrics gives a confidence of exactly 1 a bin of its own


def negative_log_likelihood(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Minus the log of the true class's probability, of each example ``[E]``, in nats."""
    chosen = probabilities[torch.arange(len(truth)), truth]
    return -chosen.clamp(min=torch.finfo(chosen.dtype).tiny).log()


def brier_score(probabilities: Tensor, truth: Tensor) -> float:
    """Mean over examples of the summed squared errors of all classes (Brier 1950), 0 to 2."""
    wanted = F.one_hot(truth, probabilities.shape[1])
    return float(((probabilities - wanted) ** 2).sum(1).mean())


def calibration_error(probabilities: Tensor, truth: Tensor) -> float:
    """Expected calibration error in 15 bins of equal width (Naeini et al. 2015)."""
    return float(
        multiclass_calibration_error(
            probabilities.clamp(max=_ALMOST_ONE),
            truth,
            num_classes=probabilities.shape[1],
            n_bins=NUM_BINS,
        )
    )


def reliability(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Mean confidence and accuracy ``[2, bins]`` in bins of confidence; empty ones left out."""
    confidence, label = probabilities.max(1)
    bins = (confidence * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    sums = torch.zeros(3, NUM_BINS)
    sums.index_add_(1, bins, torch.stack([confidence, label == truth, torch.ones(len(truth))]))
    filled = sums[2] > 0
    return sums[:2, filled] / sums[2, filled]


def ood_auroc(probabilities: Tensor, num_test: int) -> float:
    """Area under the ROC curve for telling test from out-of-distribution inputs.

    The score of an input is its largest class probability (Hendrycks and Gimpel 2017).

    Args:
        probabilities: ``[E + O, K]``, test examples first.
        num_test: ``E``.

    Returns:
        1 where every test example is surer than every other input, 0.5 for chance.
    """
    is_test = torch.arange(len(probabilities)) < num_test
    return float(roc_auc_score(is_test.numpy(), probabilities.max(1).values.numpy()))
