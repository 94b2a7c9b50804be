"""Distributions with full covariance: moments against closed forms, scipy and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.methods import subspace
from paramdiff.methods.combinations import combined
from paramdiff.methods.densities import KDE, MIXTURE
from paramdiff.methods.gaussians import GAUSSIAN_FULL
from paramdiff.methods.subspace import ClusteredGaussians, Embedding

from .contexts import built, context, generator


def correlated(num, seed=0, size=3):
    mixing = torch.randn(size, size, generator=generator(7))
    return torch.randn(num, size, generator=generator(seed)) @ mixing + 5


def clusters(sizes, seed=0, size=4, distance=30.0):
    """Well separated clouds of different shape; also which original is of which."""
    centres = distance * torch.randn(len(sizes), size, generator=generator(seed))
    clouds = [
        correlated(num, seed + number, size) * (number + 1) + center
        for number, (num, center) in enumerate(zip(sizes, centres, strict=True))
    ]
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.cat(clouds), labels


def given(vectors):
    return context(originals=vectors)


def test_points_keep_all_distances():
    vectors = torch.randn(7, 300, generator=generator())
    points = Embedding(vectors).points
    assert points.shape == (7, 6)
    torch.testing.assert_close(
        torch.cdist(points, points), torch.cdist(vectors, vectors).double(), rtol=1e-4, atol=1e-4
    )
    variances = points.square().sum(0)
    assert variances.diff().le(1e-9).all() and points.mean(0).abs().max() < 1e-9


def test_combinations_in_blocks_are_the_matrix_product(monkeypatch):
    originals, weights = torch.randn(5, 301), torch.softmax(torch.randn(9, 5), 1)
    expected = (weights.double() @ originals.double()).float()
    monkeypatch.setattr("paramdiff.memmap.BLOCK_VALUES", 64)
    torch.testing.assert_close(combined(originals, weights), expected)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_full_gaussian_has_the_covariance_of_the_originals(scale):
    vectors = correlated(40)
    drawn = built(GAUSSIAN_FULL.at(scale), given(vectors), 100_000).vectors
    expected = scale**2 * vectors.T.cov()
    assert drawn.T.cov().allclose(expected, atol=0.02 * float(expected.max()))
    assert drawn.mean(0).allclose(vectors.mean(0), atol=0.05)


def test_full_gaussians_stay_in_the_span_of_the_originals():
    vectors = torch.randn(4, 50, generator=generator())
    drawn = built(GAUSSIAN_FULL.at(1.0), given(vectors), 30).vectors
    centered = vectors - vectors.mean(0)
    basis = torch.linalg.svd(centered).Vh[:3]
    deviations = drawn - vectors.mean(0)
    assert (deviations - deviations @ basis.T @ basis).abs().max() < 1e-4
    assert dispersion(built(GAUSSIAN_FULL.at(0.7), given(vectors), 3000).vectors, vectors) == (
        pytest.approx(0.7, rel=0.05)
    )


def test_kernels_are_those_of_scipy():
    """The same density, drawn and evaluated: mean log-likelihoods under scipy's agree."""
    vectors, factor = correlated(30), 0.4
    drawn = built(KDE.at(factor), given(vectors), 40_000).vectors.double().numpy()
    density = gaussian_kde(vectors.T.double().numpy(), bw_method=factor)
    expected = density.resample(40_000, seed=0)
    found = density.logpdf(drawn.T[:, :4000]).mean()
    assert found == pytest.approx(density.logpdf(expected[:, :4000]).mean(), abs=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(expected), rtol=0.06, atol=0.1)


def test_a_kernel_about_its_source_has_the_covariance_of_all():
    vectors = correlated(50)
    made = built(KDE.at(0.3), given(vectors), 100_000)
    residual = made.vectors - vectors[made.source]
    expected = 0.09 * vectors.T.cov()
    assert residual.T.cov().allclose(expected, atol=0.02 * float(expected.max()))


def test_kernel_densities_draw_every_original_alike():
    uses = torch.bincount(built(KDE.at(None), count=6000).source, minlength=6)
    assert ((uses - 1000) / 1000**0.5).abs().max() < 4.5


@pytest.mark.parametrize(
    "member", [KDE.at(None), KDE.at(0.5), MIXTURE.at(1.0), GAUSSIAN_FULL.at(1.0)]
)
@pytest.mark.parametrize("num", [2, 5, 60])
def test_of_equal_originals_everything_is_that_original(member, num):
    found = built(member, given(torch.ones(num, 3))).vectors
    assert found.allclose(torch.ones(9, 3), atol=1e-6)


def test_the_bandwidth_follows_the_density():
    """Near Scott's factor for a normal distribution, far below for a curve or for clusters."""
    normal = torch.randn(200, 2, generator=generator()) @ torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    scott = 200 ** (-1 / 6)
    assert 0.5 * scott < Embedding(normal).bandwidth < 1.5 * scott
    time = torch.linspace(0, 6, 200)
    curve = torch.stack([time.cos(), time.sin()], 1)
    assert Embedding(curve).bandwidth < 0.3 * scott
    assert Embedding(clusters([50, 50, 50])[0]).bandwidth < 0.5 * scott


def test_the_bandwidth_maximizes_held_out_likelihood():
    """By hand: scipy's density without one fold, with the kernels of all points."""
    points = correlated(60, size=2)
    found = Embedding(points)
    whitened = found.leading / found.leading.std(0)
    folds = list(subspace._folds(60).split(whitened))

    def held_out(width):
        total = 0.0
        for train, test in folds:
            kernel = multivariate_normal(np.zeros(whitened.shape[1]), width**2)
            gaps = whitened[test][:, None] - whitened[train][None]
            logs = kernel.logpdf(gaps.numpy()).reshape(len(test), len(train))
            total += np.log(np.exp(logs).mean(1)).sum() / len(test)
        return total

    assert found.bandwidth == max(subspace.BANDWIDTHS, key=held_out)


@pytest.mark.parametrize("sizes", [[60], [50, 40], [40, 30, 50, 20]])
def test_the_mixture_finds_clusters_by_held_out_likelihood(sizes):
    vectors, labels = clusters(sizes)
    found = Embedding(vectors).clusters
    if len(sizes) == 1:
        assert found.number <= 2
    else:
        assert found.number >= len(sizes)
        assert all(len(labels[found.labels == one].unique()) == 1 for one in range(found.number))
    assert found.labels.unique().equal(torch.arange(found.number))


def test_a_mixture_has_the_moments_of_each_cluster():
    vectors, labels = clusters([60, 40, 100], size=3, distance=300)
    drawn = built(MIXTURE.at(0.8), given(vectors), 60_000).vectors
    nearest = torch.cdist(drawn, vectors).argmin(1)
    own = labels[nearest]
    for cluster, share in enumerate([0.3, 0.2, 0.5]):
        members, found = vectors[labels == cluster], drawn[own == cluster]
        assert len(found) / 60_000 == pytest.approx(share, abs=0.01)
        assert found.mean(0).allclose(members.mean(0), atol=0.1)
    kept = replace(given(vectors))
    kept.embedding.clusters = subspace.Clusters(labels, 3, (3,))
    drawn = built(MIXTURE.at(0.8), kept, 60_000).vectors
    own = labels[torch.cdist(drawn, vectors).argmin(1)]
    for cluster in range(3):
        members, found = vectors[labels == cluster], drawn[own == cluster]
        expected = 0.64 * members.T.cov()
        assert found.T.cov().allclose(expected, atol=0.05 * float(expected.max()))


def test_a_cluster_of_one_spreads_as_all_do():
    """Else its draws would be copies."""
    vectors, labels = clusters([20, 30, 1], size=3, distance=300)
    kept = given(vectors)
    kept.embedding.clusters = subspace.Clusters(labels, 3, (3,))
    drawn = built(MIXTURE.at(1.0), kept, 100_000).vectors
    found = drawn[labels[torch.cdist(drawn, vectors).argmin(1)] == 2]
    assert len(found) > 1000
    deviations = torch.cat(
        [vectors[labels == one] - vectors[labels == one].mean(0) for one in range(3)]
    )
    expected = deviations.T @ deviations / (51 - 3)
    assert found.T.cov().allclose(expected, atol=0.1 * float(expected.max()))


def test_a_mixture_of_one_cluster_is_the_full_gaussian():
    vectors = correlated(8)
    kept = given(vectors)
    assert kept.embedding.clusters.number == 1  # too few originals for more
    drawn = built(MIXTURE.at(1.0), kept, 100_000).vectors
    expected = vectors.T.cov()
    assert drawn.T.cov().allclose(expected, atol=0.03 * float(expected.max()))


def test_what_was_chosen_is_told():
    vectors, _ = clusters([50, 40])
    made = built(MIXTURE.at(1.0), given(vectors))
    number = given(vectors).embedding.clusters.number
    assert made.facts["Components of the mixture"].startswith(f"{number}, of 1, 2, 3")
    facts = built(KDE.at(None), given(vectors)).facts
    width = given(vectors).embedding.bandwidth
    assert facts == {"Bandwidth of the kernel density": f"{width:.3g}, by held-out likelihood"}
    assert built(KDE.at(0.2), given(vectors)).facts == {}


def test_clustered_gaussians_are_k_means_and_their_likelihood():
    points = clusters([40, 60], size=2)[0].double().numpy()
    found = ClusteredGaussians(2).fit(points)
    expected = KMeans(2, n_init=10, random_state=0).fit_predict(points)
    assert adjusted_rand_score(found.labels_, expected) == 1
    density = sum(
        (points[found.labels_ == one].shape[0] / 100)
        * multivariate_normal(
            points[found.labels_ == one].mean(0), np.cov(points[found.labels_ == one].T, ddof=0)
        ).pdf(points)
        for one in (0, 1)
    )
    assert found.score(points) == pytest.approx(np.log(density).mean(), abs=0.15)
