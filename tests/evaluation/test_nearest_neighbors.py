"""Distances to the originals: exact where copies are to be seen, and scipy's elsewhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from paramdiff.evaluation.metrics.nearest_neighbors import neighbor_distances


def cloud(num=7, size=5, seed=0):
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed))


def test_copies_are_at_distance_0_exactly():
    originals = cloud(40, 300) * 100 + 7  # where the matrix-product formula would see a distance
    found = neighbor_distances(originals.flip(0), originals)
    assert found.nearest.eq(0).all()
    assert found.ratio.eq(0).all()
    assert found.index.equal(torch.arange(40).flip(0))


def test_nearly_copies_are_seen():
    originals = cloud(40, 300) * 100
    moved = originals.clone()
    moved[:, 0] += 1e-3
    found = neighbor_distances(moved, originals)
    torch.testing.assert_close(found.nearest, (moved[:, 0] - originals[:, 0]).abs())
    assert found.nearest.gt(0).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(3, 7), st.integers(1, 9), st.integers(0, 999), st.data())
def test_distances_are_scipys(num, num_originals, size, seed, data):
    vectors, originals = cloud(num, size, seed), cloud(num_originals, size, seed + 1)
    matrix = cdist(vectors.double().numpy(), originals.double().numpy())

    def agrees(found, matrix):
        ordered = np.sort(matrix, axis=1)
        np.testing.assert_allclose(found.nearest, ordered[:, 0], rtol=1e-5)
        np.testing.assert_allclose(found.ratio, ordered[:, 0] / ordered[:, 1], rtol=1e-5)
        chosen = matrix[np.arange(num), found.index.numpy()]
        np.testing.assert_allclose(chosen, ordered[:, 0], rtol=1e-5)

    agrees(neighbor_distances(vectors, originals), matrix)
    numbers = st.integers(0, num_originals - 1)
    source = data.draw(st.lists(numbers, min_size=num, max_size=num))
    found = neighbor_distances(vectors, originals, torch.tensor(source))
    matrix[np.arange(num), source] = np.inf
    agrees(found, matrix)


def test_the_ratio_by_hand():
    originals = torch.tensor([[0.0], [4.0], [10.0]])
    vectors = torch.tensor([[1.0], [2.0], [4.0], [-6.0]])
    found = neighbor_distances(vectors, originals)
    assert found.ratio.tolist() == pytest.approx([1 / 3, 1, 0, 6 / 10])
    without = neighbor_distances(vectors, originals, torch.tensor([0, 0, 1, 0]))
    assert without.ratio.tolist() == pytest.approx([3 / 9, 2 / 8, 4 / 6, 10 / 16])


def test_between_two_equal_originals_the_ratio_is_1():
    originals = torch.zeros(3, 2)
    assert neighbor_distances(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), originals).ratio.eq(1).all()


@pytest.mark.parametrize(("num_originals", "source"), [(1, None), (2, [0, 1])])
def test_one_original_has_no_second(num_originals, source):
    given_source = None if source is None else torch.tensor(source)
    found = neighbor_distances(cloud(2), cloud(num_originals, seed=3), given_source)
    assert torch.isfinite(found.nearest).all()
    assert found.ratio.isnan().all()


def test_leaving_out_the_only_original_leaves_an_infinite_distance():
    found = neighbor_distances(cloud(2), cloud(1), torch.tensor([0, 0]))
    assert found.nearest.eq(torch.inf).all()
    assert found.ratio.isnan().all()


def test_nothing_is_changed():
    vectors, originals = cloud(3, seed=1), cloud()
    before = vectors.clone(), originals.clone()
    neighbor_distances(vectors, originals, torch.tensor([0, 1, 2]))
    assert vectors.equal(before[0])
    assert originals.equal(before[1])
