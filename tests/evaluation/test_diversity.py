"""How widely a group spreads, in all, by tensor, by direction, and in how many directions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.evaluation.metrics.diversity import (
    NUM_COMPONENTS,
    dispersion,
    dispersion_in_components,
    dispersion_per_tensor,
    effective_rank,
    effective_rank_ratio,
    principal_components,
    total_variance,
)
from paramdiff.parameters.layout import ParameterLayout


def cloud(num=7, size=5, seed=0):
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed))


def test_total_variance_is_numpys():
    expected = np.var(cloud().double().numpy(), axis=0, ddof=1).sum()
    assert total_variance(cloud()) == pytest.approx(expected)


def test_the_set_itself_has_dispersion_1():
    assert dispersion(cloud(), cloud()) == 1
    assert dispersion(cloud().flip(0), cloud()) == pytest.approx(1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(-8, 8), st.floats(-10, 10), st.integers(2, 9), st.integers(0, 99))
def test_a_scaled_and_shifted_cloud_has_its_scale(scale, shift, num, seed):
    originals = cloud(num, seed=seed).double()
    moved = scale * (originals - originals.mean(0)) + shift
    assert dispersion(moved, originals) == pytest.approx(abs(scale), abs=1e-6)


def test_dispersion_is_the_ratio_of_total_spreads_not_of_each_coordinate():
    originals = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    vectors = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    assert dispersion(vectors, originals) == pytest.approx(1)


def test_one_repeated_vector_has_dispersion_0():
    assert dispersion(cloud()[:1].expand(4, -1), cloud()) == 0
    assert dispersion(cloud().mean(0, keepdim=True).repeat(3, 1), cloud()) == 0


@pytest.mark.parametrize(
    ("vectors", "originals"),
    [
        (cloud(1), cloud()),
        (cloud(), cloud(1)),
        (cloud(1), cloud(1)),
        (cloud(), cloud(1).repeat(4, 1)),  # equal originals
        (cloud(), cloud(1).repeat(33, 1)),
    ],
)
def test_without_spread_there_is_no_ratio(vectors, originals):
    assert dispersion(vectors, originals) is None


def test_a_small_spread_about_a_large_mean_is_not_lost():
    originals = cloud().double() * 1e-3 + 1000.0
    moved = (originals - originals.mean(0)) * 0.5 + originals.mean(0)
    assert dispersion(moved, originals) == pytest.approx(0.5, rel=1e-6)


LAYOUT = ParameterLayout.of(
    {"a": torch.zeros(3), "b": torch.zeros(2, 2), "c": torch.zeros(5)}, ["a", "b", "c"]
)


def stretched(originals, factors):
    mean = originals.mean(0)
    return mean + factors * (originals - mean)


def test_each_tensor_has_its_own_scale():
    originals = cloud(8, 12)
    factors = torch.tensor([0.5] * 3 + [2.0] * 4 + [0.0] * 5)
    found = dispersion_per_tensor(stretched(originals, factors), originals, LAYOUT)
    assert list(found) == ["a", "b", "c"]
    assert list(found.values()) == pytest.approx([0.5, 2, 0], abs=1e-6)


def test_a_tensor_in_which_the_originals_are_equal_has_no_ratio():
    originals = cloud(8, 12)
    originals[:, 3:7] = 1.0
    found = dispersion_per_tensor(originals, originals, LAYOUT)
    assert found == {"a": 1, "b": None, "c": 1}


def directions(size, seed=4):
    return torch.linalg.qr(
        torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    ).Q


def cloud_of_spectrum(standard_deviations, num=20, size=30):
    """Exactly uncorrelated coordinates along known directions."""
    count = len(standard_deviations)
    scores = cloud(num, count).double()
    scores = torch.linalg.qr(scores - scores.mean(0)).Q * (num - 1) ** 0.5  # variance 1 each
    return scores * torch.tensor(standard_deviations).double() @ directions(size)[:count].double()


def test_principal_components_are_the_planted_directions():
    originals = cloud_of_spectrum([4.0, 2.0, 1.0]).float() + 5
    found = principal_components(originals)
    assert found.shape == (3, 30)
    torch.testing.assert_close(
        (found @ directions(30)[:3].T).abs(), torch.eye(3), rtol=0, atol=1e-4
    )


def test_principal_components_are_numpys_and_orthonormal():
    originals = cloud(40, 25)
    found = principal_components(originals)
    assert found.shape == (NUM_COMPONENTS, 25)
    torch.testing.assert_close(found @ found.T, torch.eye(NUM_COMPONENTS), rtol=0, atol=1e-5)
    centered = originals.double().numpy() - originals.double().numpy().mean(0)
    expected = np.linalg.svd(centered, full_matrices=False)[2][:NUM_COMPONENTS]
    np.testing.assert_allclose(np.abs((found.numpy() * expected).sum(1)), 1, atol=1e-5)


@pytest.mark.parametrize("num", [1, 2, 5])
def test_there_are_fewer_components_than_originals(num):
    assert len(principal_components(cloud(num, 30))) == num - 1


def test_each_component_has_its_own_scale():
    originals = cloud_of_spectrum([4.0, 2.0, 1.0]).float()
    vectors = cloud_of_spectrum([4 * 0.5, 2 * 3.0, 0.0]).float() + 7
    found = dispersion_in_components(vectors, originals, principal_components(originals))
    assert found == pytest.approx((0.5, 3, 0), abs=1e-4)


def test_components_about_a_large_mean_are_not_lost():
    far = 1024 * torch.ones(3, 30)
    originals = torch.cat([far, far + 2**-10, far - 2**-11])  # all of it exact in float32
    vectors = torch.cat([far, far + 2**-11, far - 2**-12])
    found = dispersion_in_components(vectors, originals, principal_components(originals))
    assert found == pytest.approx((0.5,), rel=1e-3)


def test_equal_originals_have_no_components():
    originals = cloud(1).repeat(30, 1)
    components = principal_components(originals)
    assert components.shape == (0, 5)
    assert dispersion_in_components(cloud(), originals, components) is None
    assert dispersion_in_components(cloud(1), cloud(), principal_components(cloud())) is None


@pytest.mark.parametrize("num_directions", [1, 2, 7, 12])
def test_equal_spread_in_k_directions_is_effective_rank_k(num_directions):
    assert effective_rank(cloud_of_spectrum([3.0] * num_directions)) == pytest.approx(
        num_directions
    )


def test_effective_rank_is_the_exponential_of_the_entropy():
    shares = np.array([16, 4, 1]) / 21
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(cloud_of_spectrum([4.0, 2.0, 1.0])) == pytest.approx(expected)


@pytest.mark.parametrize("vectors", [cloud(1), cloud(1).repeat(3, 1), cloud(1).repeat(30, 1)])
def test_what_does_not_vary_has_no_effective_rank(vectors):
    assert effective_rank(vectors) is None
    assert effective_rank_ratio(vectors, cloud()) is None
    assert effective_rank_ratio(cloud(), vectors) is None


def test_the_effective_rank_ratio_compares_equally_many():
    """The rank of a few networks is small because they are few; that is no collapse."""
    isotropic = cloud(400, 300)
    assert effective_rank_ratio(cloud(10, 300, seed=5), isotropic) == pytest.approx(1, abs=0.02)
    assert effective_rank_ratio(isotropic, cloud(10, 300, seed=5)) == pytest.approx(1, abs=0.02)
    line = cloud(20, 1, seed=6) * directions(300)[:1]
    assert effective_rank_ratio(line, isotropic) == pytest.approx(1 / 19, rel=0.1)
    assert effective_rank_ratio(isotropic, isotropic) == 1


def test_all_of_a_larger_group_counts_towards_its_effective_rank():
    """Networks come seed by seed: the first ones would stand for the first seed alone."""
    line = cloud(20, 1, seed=6) * directions(30)[:1]
    group = torch.cat([line, cloud(20, 30, seed=7)])
    assert effective_rank_ratio(group, cloud(20, 30)) > 0.3


def test_nothing_is_changed():
    vectors, originals = cloud(3, seed=1), cloud()
    before = vectors.clone(), originals.clone()
    dispersion(vectors, originals)
    dispersion_in_components(vectors, originals, principal_components(originals))
    effective_rank_ratio(vectors, originals)
    assert vectors.equal(before[0])
    assert originals.equal(before[1])
