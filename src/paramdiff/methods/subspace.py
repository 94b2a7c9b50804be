"""The originals as points in their own affine space.

N vectors span N - 1 dimensions. Distributions that use their full covariance are fitted and drawn
there, and cost N x P time but no P x P matrix.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import KMeans
from sklearn.covariance import ledoit_wolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from torch import Tensor

from paramdiff.memmap import centered_products

EXPLAINED_VARIANCE = 0.8
ORIGINALS_PER_COMPONENT = 10
NUM_FOLDS = 4
BANDWIDTHS = tuple(np.geomspace(0.02, 2.0, 13).tolist())
NUMBERS_OF_CLUSTERS = (1, 2, 3, 4, 8, 16)
SMALLEST_CLUSTER = 5
"""Originals per cluster, on average, at the largest number of clusters that is tried."""

_NEGLIGIBLE = 1e-10
_RIDGE = 1e-6
"""A share of the total variance: a cluster of two points has a covariance of rank one."""


@dataclass(frozen=True)
class Clusters:
    """Originals in groups.

    Attributes:
        labels: ``[N]`` cluster of each original, ``0`` to ``number - 1``.
        number: of clusters.
        tried: the numbers of clusters among which held-out likelihood chose.
    """

    labels: Tensor
    number: int
    tried: tuple[int, ...]


class Embedding:
    """Originals as points whose distances are those of their vectors.

    What is chosen by held-out likelihood is chosen in the leading principal components: in all
    N - 1 of them, every point lies outside the span of the others, where these have no density.
    Leading are those that hold 80% of the variance, and at most one per ten originals.

    Args:
        originals: ``[N, P]``, possibly mapped.
    """

    def __init__(self, originals: Tensor) -> None:
        variances, directions = torch.linalg.eigh(centered_products(originals))
        variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
        usable = variances > _NEGLIGIBLE * variances[0]
        self.points = directions[:, usable] * variances[usable].sqrt()
        """``[N, D]`` of float64, principal components in descending order; D is N - 1 at most."""

    @property
    def leading(self) -> Tensor:
        """``[N, L]``, the leading principal components; L is 0 where all originals are equal."""
        num, size = self.points.shape
        share = self.points.square().sum(0).cumsum(0)
        wanted = int((share < EXPLAINED_VARIANCE * share[-1:]).sum()) + 1
        return self.points[:, : min(size, wanted, max(1, num // ORIGINALS_PER_COMPONENT))]

    @cached_property
    def bandwidth(self) -> float:
        """The bandwidth factor of a kernel density with the highest held-out likelihood.

        Kernels have the covariance of the points, times the factor squared (as in
        ``scipy.stats.gaussian_kde``): spherical ones, where points are whitened.
        """
        points = self.leading
        if not points.shape[1]:
            return 1.0
        whitened = points / points.std(0)
        search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=_folds(len(points)))
        return float(search.fit(whitened.numpy()).best_params_["bandwidth"])

    @cached_property
    def clusters(self) -> Clusters:
        """K-means clusters, as many as give Gaussians of the highest held-out likelihood."""
        points = self.leading.numpy()
        distinct = len(np.unique(points, axis=0)) if points.shape[1] else 1
        most = min(distinct, len(points) // SMALLEST_CLUSTER)
        tried = tuple(number for number in NUMBERS_OF_CLUSTERS if number <= max(1, most))
        if len(tried) == 1:
            return Clusters(torch.zeros(len(points), dtype=torch.long), 1, tried)
        search = GridSearchCV(
            ClusteredGaussians(),
            {"num_clusters": tried},
            cv=_folds(len(points)),
            error_score="raise",
        )
        best = search.fit(points).best_estimator_
        labels = torch.from_numpy(best.labels_.astype(np.int64)).unique(return_inverse=True)[1]
        return Clusters(labels, int(labels.max()) + 1, tried)


class ClusteredGaussians(DensityMixin, BaseEstimator):
    """K-means, then a Gaussian per cluster, as a density whose likelihood can be compared.

    Covariances are shrunk (Ledoit and Wolf 2004), as clusters hold few points; a cluster of one
    has that of all clusters together.

    Args:
        num_clusters: how many.
    """

    def __init__(self, num_clusters: int = 1) -> None:
        self.num_clusters = num_clusters

    def fit(self, points: np.ndarray, y: Any = None) -> "ClusteredGaussians":
        """Fit to points ``[N, L]``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer points than clusters
            self.labels_ = KMeans(self.num_clusters, n_init=3, random_state=0).fit_predict(points)
        groups = [points[self.labels_ == label] for label in np.unique(self.labels_)]
        pooled = np.concatenate([group - group.mean(0) for group in groups])
        least = max(_RIDGE * points.var(0).sum(), np.finfo(float).tiny)

        def gaussian(group: np.ndarray) -> Any:
            centered = group - group.mean(0) if len(group) > 1 else pooled
            covariance = ledoit_wolf(centered, assume_centered=True)[0]
            covariance = covariance + least * np.eye(points.shape[1])
            return multivariate_normal(group.mean(0), covariance)

        self.gaussians_ = [gaussian(group) for group in groups]
        self.shares_ = np.array([len(group) / len(points) for group in groups])
        return self

    def score(self, points: np.ndarray, y: Any = None) -> float:
        """The mean log-likelihood of points ``[N, L]``."""
        logs = np.stack([gaussian.logpdf(points).reshape(-1) for gaussian in self.gaussians_])
        return float(logsumexp(logs, axis=0, b=self.shares_[:, None]).mean())


def _folds(num: int) -> KFold:
    return KFold(min(NUM_FOLDS, num), shuffle=True, random_state=0)
