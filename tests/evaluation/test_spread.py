"""How widely a group spreads and how near it lies to the originals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from paramdiff.evaluation.spread import (
    dispersion,
    nearest_distance,
    nearest_original,
    total_variance,
)


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
    ],
)
def test_without_spread_there_is_no_ratio(vectors, originals):
    assert dispersion(vectors, originals) is None


def test_a_small_spread_about_a_large_mean_is_not_lost():
    originals = cloud().double() * 1e-3 + 1000.0
    moved = (originals - originals.mean(0)) * 0.5 + originals.mean(0)
    assert dispersion(moved, originals) == pytest.approx(0.5, rel=1e-6)


def test_copies_are_at_distance_0_exactly():
    originals = cloud(40, 300) * 100 + 7  # where the matrix-product formula would see a distance
    assert nearest_distance(originals.flip(0), originals).eq(0).all()
    assert nearest_original(originals.flip(0), originals).equal(torch.arange(40).flip(0))


def test_nearly_copies_are_seen():
    originals = cloud(40, 300) * 100
    moved = originals.clone()
    moved[:, 0] += 1e-3
    distance = nearest_distance(moved, originals)
    torch.testing.assert_close(distance, (moved[:, 0] - originals[:, 0]).abs())
    assert distance.gt(0).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(2, 6), st.integers(1, 9), st.integers(0, 999), st.data())
def test_distances_are_scipys(num, num_originals, size, seed, data):
    vectors, originals = cloud(num, size, seed), cloud(num_originals, size, seed + 1)
    matrix = cdist(vectors.double().numpy(), originals.double().numpy())
    np.testing.assert_allclose(nearest_distance(vectors, originals), matrix.min(1), rtol=1e-5)
    chosen = matrix[np.arange(num), nearest_original(vectors, originals).numpy()]
    np.testing.assert_allclose(chosen, matrix.min(1), rtol=1e-5)
    numbers = st.integers(0, num_originals - 1)
    source = data.draw(st.lists(numbers, min_size=num, max_size=num))
    found = nearest_distance(vectors, originals, torch.tensor(source))
    matrix[np.arange(num), source] = np.inf
    np.testing.assert_allclose(found, matrix.min(1), rtol=1e-5)


def test_leaving_out_the_only_original_leaves_an_infinite_distance():
    assert nearest_distance(cloud(2), cloud(1), torch.tensor([0, 0])).eq(torch.inf).all()


def test_nothing_is_changed():
    vectors, originals = cloud(3, seed=1), cloud()
    before = vectors.clone(), originals.clone()
    dispersion(vectors, originals)
    nearest_distance(vectors, originals, torch.tensor([0, 1, 2]))
    assert vectors.equal(before[0])
    assert originals.equal(before[1])
