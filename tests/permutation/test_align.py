"""Matching finds a shuffle again, never moves away from the reference, and keeps the function."""

import itertools

import pytest
import torch
from torch import nn

from paramdiff.networks.small import CNNMedium
from paramdiff.permutation.align import align, match
from tests.permutation.networks import Attending, Grouped, outputs, random_vector, symmetries_of

NETWORKS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,)),
    "attention": (Attending, (5, 4)),
    "grouped": (lambda: Grouped(nn.BatchNorm2d(24)), (3, 8, 8)),
    "convolutions": (CNNMedium, (3, 32, 32)),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_shuffled_copy_is_undone(name):
    build, shape = NETWORKS[name]
    network = build()
    symmetries = symmetries_of(network, shape)
    vector = random_vector(network, generator(1))
    shuffled = symmetries.permute_randomly(vector, generator(2))
    noise = 1e-3 * torch.randn(vector.shape, generator=generator(3))
    places = match(shuffled + noise, vector, symmetries, generator(4))
    assert torch.equal(shuffled[places], vector)


def test_nothing_moves_where_it_lies_best():
    network = CNNMedium()
    symmetries = symmetries_of(network, (3, 32, 32))
    vector = random_vector(network, generator())
    places = match(vector, vector, symmetries, generator())
    assert torch.equal(places, torch.arange(len(vector)))


def test_of_all_orders_of_a_small_network_the_nearest_is_found():
    network, shape = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), (4,)
    symmetries = symmetries_of(network, shape)
    vector, reference = (random_vector(network, generator(seed)) for seed in (1, 2))
    vector = symmetries.permute_randomly(vector, generator(5))
    first, bias, last = vector[:20].view(5, 4), vector[20:25], vector[25:35].view(2, 5)
    distances = []
    for order in map(list, itertools.permutations(range(5))):
        parts = [first[order].flatten(), bias[order], last[:, order].flatten(), vector[35:]]
        distances.append(float((torch.cat(parts) - reference).norm()))
    places = match(vector, reference, symmetries, generator())
    found = float((vector[places] - reference).norm())
    assert found == pytest.approx(min(distances), rel=1e-6)
    assert min(distances) < distances[0]


def relatives(network, symmetries, num):
    """Noisy shuffled copies of one network."""
    center = random_vector(network, generator(7))
    noisy = [center + 0.02 * torch.randn(center.shape, generator=generator(s)) for s in range(num)]
    permuted = [symmetries.permute_randomly(v, generator(i)) for i, v in enumerate(noisy)]
    return torch.stack(permuted), noisy


def test_a_zoo_of_shuffled_relatives_comes_together():
    network, shape = CNNMedium(), (3, 32, 32)
    symmetries = symmetries_of(network, shape)
    vectors, noisy = relatives(network, symmetries, 6)
    originals, held_out = vectors[:5], vectors[5:]
    before = vectors.clone()
    aligned = align(originals, held_out, symmetries, seed=0)
    assert torch.equal(vectors, before)  # what is given is not written to
    spread = torch.stack(noisy[:5]).var(0).mean()
    torch.testing.assert_close(aligned.originals.var(0).mean(), spread)
    assert aligned.variance_after < 0.3 * aligned.variance_before
    assert (aligned.held_out[0] - aligned.originals.mean(0)).std() < 0.03
    inputs = torch.randn(2, *shape)
    for one, other in zip(
        [*originals, *held_out], [*aligned.originals, *aligned.held_out], strict=True
    ):
        expected = outputs(network, one, inputs)
        tolerance = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(
            outputs(network, other, inputs), expected, rtol=0, atol=tolerance
        )
    again = align(originals, held_out, symmetries, seed=0)
    assert torch.equal(again.originals, aligned.originals)


def test_one_network_stays_as_it_is():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    symmetries = symmetries_of(network, (4,))
    vectors = random_vector(network, generator())[None]
    aligned = align(vectors, vectors[:0], symmetries, seed=0)
    assert torch.equal(aligned.originals, vectors)
    assert aligned.variance_before == aligned.variance_after == aligned.num_rounds == 0
