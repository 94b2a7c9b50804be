"""Scores of class probabilities ``[E, K]``: are they right, sure, and sure for good reason?"""

import math

import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

NUM_BINS = 15
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.02, 50.0
_ALMOST_ONE = 1 - 1e-7  # torchmetrics gives a confidence of exactly 1 a bin of its own


def negative_log_likelihood(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Minus the log of the true class's probability, of each example ``[E]``, in nats."""
    chosen = probabilities[torch.arange(len(truth)), truth]
    return -chosen.clamp(min=torch.finfo(chosen.dtype).tiny).log()


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities ``[E, K]`` to the power of 1 / temperature, each row normalized again."""
    tiny = torch.finfo(torch.float32).tiny
    return (probabilities.double().clamp(min=tiny).log() / temperature).softmax(1)


def best_temperature(probabilities: Tensor, truth: Tensor) -> float:
    """The temperature of the lowest negative log-likelihood (Guo et al. 2017).

    An ensemble's members are averaged first and calibrated together (Rahaman and Thiery 2021).

    Args:
        probabilities: ``[V, K]``, of examples that serve for nothing else.
        truth: ``[V]``.

    Returns:
        The temperature, between ``LOWEST_TEMPERATURE`` and ``HIGHEST_TEMPERATURE``: in its
        reciprocal the likelihood has one minimum.
    """

    def loss(log_temperature: float) -> float:
        chosen = tempered(probabilities, math.exp(log_temperature))
        return float(negative_log_likelihood(chosen, truth).mean())

    bounds = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def brier_score(probabilities: Tensor, truth: Tensor) -> float:
    """Mean over examples of the summed squared errors of all classes (Brier 1950), 0 to 2."""
    wanted = F.one_hot(truth, probabilities.shape[1])
    return float(((probabilities - wanted) ** 2).sum(1).mean())


def calibration_error(probabilities: Tensor, truth: Tensor) -> float:
    """Expected calibration error in 15 bins of equal width (Naeini et al. 2015)."""
    # torchmetrics takes seconds to load
    from torchmetrics.functional.classification import multiclass_calibration_error

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


def placements(probabilities: Tensor, num_test: int) -> tuple[Tensor, Tensor]:
    """Each input's share in ``ood_auroc`` (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        probabilities: as those of ``ood_auroc``.
        num_test: the same.

    Returns:
        For every test example the share ``[E]`` of foreign inputs that are less sure, and for
        every foreign input the share ``[O]`` of test examples that are surer; equals count one
        half. The mean of either is the area.
    """
    confidence = probabilities.max(1).values
    test, foreign = confidence[:num_test].contiguous(), confidence[num_test:].contiguous()
    below = _share_below(test, foreign)
    return below, 1 - _share_below(foreign, test)


def _share_below(values: Tensor, others: Tensor) -> Tensor:
    """The share of the others below each value, float64; equal ones count one half."""
    ordered = others.sort().values
    counts = sum(
        torch.searchsorted(ordered, values, side=side).double() for side in ("left", "right")
    )
    return torch.as_tensor(counts) / (2 * len(others))
