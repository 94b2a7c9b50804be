"""Scores at hand say what they should, with the right gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paramdiff.energies import larger_distance, lower_loss
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace

NAMES = ("1.weight", "1.bias", "1.running_var", "3.weight")


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


@pytest.fixture
def space():
    base = network().state_dict()
    layout = ParameterLayout.of(base, NAMES)
    vectors = layout.flatten(base) + 0.1 * torch.rand(9, layout.num_parameters)
    return ParameterSpace.fit(vectors, layout, base)


def near(space, num):
    return space.flatten(space.base) + 0.2 * torch.rand(num, space.num_parameters)


def assert_slopes(energy, vectors, step=1e-2):
    """Each row's slope along a direction, in single precision."""
    direction = torch.randn_like(vectors)
    moving = vectors.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(energy(moving).sum(), moving)
    with torch.no_grad():
        rise = energy(vectors + step * direction) - energy(vectors - step * direction)
    expected = rise / (2 * step)
    torch.testing.assert_close((slopes * direction).sum(1), expected, rtol=1e-2, atol=2e-3)


def test_the_loss_is_that_of_the_whole_network(space):
    inputs, labels = torch.randn(7, 4), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    energy, vectors = lower_loss(network(), space, inputs, labels), near(space, 3)
    scores = energy(vectors)
    for vector, score in zip(vectors, scores, strict=True):
        whole = network()
        whole.load_state_dict(space.restore(vector))
        torch.testing.assert_close(-F.cross_entropy(whole.eval()(inputs), labels), score)
    assert_slopes(energy, vectors)


def test_the_distance_is_that_from_the_nearest(space):
    given, vectors = near(space, 4), near(space, 3)
    energy = larger_distance(given, space)
    apart = space.normalize(vectors)[:, None] - space.normalize(given)[None]
    torch.testing.assert_close(energy(vectors), apart.norm(dim=2).amin(1))
    assert_slopes(energy, vectors, step=1e-3)
    assert energy(given).tolist() == [0] * 4
