"""Gaussians fitted to the originals: independent coordinates, and the full covariance."""

from paramdiff.memmap import column_moments
from paramdiff.methods.combinations import combined, deviations
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

PURPLE = "#a4527f"
SCALES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""From which validation data choose."""


def sample_gaussian(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Draw every coordinate by itself: the originals' mean, ``scale`` times their deviation.

    At scale 0 all draws are the mean, so one is made.
    """
    mean, variance = (moment.float() for moment in column_moments(context.originals))
    if scale == 0:
        return Samples(mean[None])
    return Samples(draws.normal(len(mean)).mul_(scale * variance.sqrt()).add_(mean))


def sample_gaussian_full(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Draw from the normal distribution with the originals' mean and full covariance.

    ``scale`` multiplies standard deviations. Every draw is a combination of the originals, and
    lies in their affine space.
    """
    num = len(context.originals)
    weights = 1 / num + scale * deviations(draws.normal(num))
    return Samples(combined(context.originals, weights))


GAUSSIAN = Method(
    "gaussian",
    label="Gaussian fit",
    label_at="Gaussian fit, scale {}",
    phrase="a per-coordinate Gaussian",
    phrase_at="a per-coordinate Gaussian with {} times the checkpoints' standard deviation",
    short_phrase="a fitted Gaussian",
    reference="At scale 1: Zeng et al. 2025 (arXiv 2506.07998)",
    style=Style(PURPLE, "o"),
    sample=sample_gaussian,
    strengths=Strengths((0.25, 0.5, 0.75, 1.0, 1.25, 1.5), (0.01, 3.0), SCALES),
    finish="batchnorm",
    parts={"recalibration": (1.0,)},
)
GAUSSIAN_FULL = Method(
    "gaussian_full",
    label="Full-covariance Gaussian",
    label_at="Full-covariance Gaussian, scale {}",
    phrase="a full-covariance Gaussian",
    phrase_at="a full-covariance Gaussian with {} times the checkpoints' deviations",
    short_phrase="a full-covariance Gaussian",
    reference="Normal distribution with the sample mean and the sample covariance (divided by "
    "N - 1)",
    style=Style(PURPLE, "h"),
    sample=sample_gaussian_full,
    strengths=Strengths((0.5, 1.0), (0.01, 3.0), SCALES),
    min_originals=2,
    finish="batchnorm",
)
