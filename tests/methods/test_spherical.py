"""Means on spheres against closed forms and a general optimizer."""

import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial import geometric_slerp

from paramdiff.methods.combinations import karcher_weights, slerp_weights
from paramdiff.methods.interpolation import NEIGHBOR_INTERPOLATION
from paramdiff.methods.spherical import KARCHER_MEAN, SLERP

from .contexts import LAYOUT, SIZE, built, context, generator, raw_originals


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_slerp_is_scipys_on_the_unit_sphere(share):
    points = torch.randn(2, 6, generator=generator()).double()
    points /= points.norm(dim=1, keepdim=True)
    weights = slerp_weights(points @ points.T, torch.tensor([[0, 1]]), share)
    expected = geometric_slerp(*points.numpy(), share)
    torch.testing.assert_close(weights[0] @ points, torch.from_numpy(expected))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slerp_of_parallel_tensors_is_linear(sign):
    point = torch.randn(1, 6, generator=generator()).double()
    points = torch.cat([point, sign * 3 * point])
    weights = slerp_weights(points @ points.T, torch.tensor([[0, 1]]), 0.25)
    assert weights[0].allclose(torch.tensor([0.75, 0.25]).double(), atol=1e-6)
    nothing = slerp_weights(torch.zeros(2, 2).double(), torch.tensor([[0, 1]]), 0.25)
    assert nothing[0].allclose(torch.tensor([0.75, 0.25]).double())


def test_slerp_mixes_two_originals_tensor_by_tensor():
    given = context()
    found = built(SLERP.at(0.5), given).raw
    pairs = built(SLERP.at(0.0), given).raw  # the first of each pair, for the same seed
    others = built(SLERP.at(1.0), given).raw
    for slot in LAYOUT.slots:
        place = slice(slot.start, slot.stop)
        one, other = pairs[:, place].double(), others[:, place].double()
        norms = one.norm(dim=1) * other.norm(dim=1)
        angle = ((one * other).sum(1) / norms).clamp(-1, 1).arccos()
        weight = (angle / 2).sin() / angle.sin()
        torch.testing.assert_close(
            found[:, place], (weight[:, None] * (one + other)).float(), rtol=1e-3, atol=1e-3
        )
    for slot in LAYOUT.slots:
        if slot.is_running_variance:
            assert found[:, slot.start : slot.stop].min() > 0


def test_the_karcher_mean_of_two_is_the_middle_of_their_arc():
    points = torch.randn(2, 6, generator=generator()).double()
    points /= points.norm(dim=1, keepdim=True)
    gram = points @ points.T
    expected = slerp_weights(gram, torch.tensor([[0, 1]]), 0.5)[0]
    torch.testing.assert_close(karcher_weights(gram), expected)


def test_the_karcher_mean_minimizes_squared_angles():
    points = torch.rand(7, 4, generator=generator()).double() + 0.1
    points /= points.norm(dim=1, keepdim=True)

    def squared_angles(vector):
        found = torch.from_numpy(vector)
        cosines = points @ found / found.norm()
        return float(cosines.clamp(-1, 1).arccos().square().sum())

    best = torch.from_numpy(minimize(squared_angles, points.mean(0).numpy(), tol=1e-12).x)
    mean = karcher_weights(points @ points.T) @ points
    assert mean.norm().item() == pytest.approx(1)
    torch.testing.assert_close(mean, best / best.norm(), rtol=1e-4, atol=1e-4)
    assert squared_angles(mean.numpy()) <= squared_angles(points.mean(0).numpy())


def test_the_karcher_mean_has_the_mean_norm_of_each_tensor():
    given = context()
    found = built(KARCHER_MEAN.at(None), given).raw[0]
    for slot in LAYOUT.slots:
        values = given.raw[:, slot.start : slot.stop]
        norm = found[slot.start : slot.stop].norm().item()
        expected = values.norm(dim=1).mean().item()
        is_mean = found[slot.start : slot.stop].allclose(values.mean(0), rtol=1e-3, atol=1e-4)
        assert norm == pytest.approx(expected, rel=1e-3) or is_mean, slot.name


def test_opposite_and_empty_tensors_have_the_plain_mean():
    for points in ([[1.0, 0], [-1, 0]], [[0.0, 0], [1, 0]], [[1.0, 0], [1, 0], [-1, 0]]):
        rows = torch.tensor(points).double()
        weights = karcher_weights(rows @ rows.T)
        assert weights.allclose(torch.full((len(rows),), 1 / len(rows)).double())


@pytest.mark.parametrize("member", [KARCHER_MEAN.at(None), SLERP.at(0.5)])
def test_means_of_equal_networks_are_that_network(member):
    given = context(raw_originals(1).expand(5, -1))
    torch.testing.assert_close(
        built(member, given).raw, given.raw[:1].expand(len(built(member, given).raw), -1)
    )


def test_the_karcher_mean_does_not_depend_on_the_order():
    given = context()
    other = context(given.raw.flip(0))
    torch.testing.assert_close(
        built(KARCHER_MEAN.at(None), given).raw,
        built(KARCHER_MEAN.at(None), other).raw,
        rtol=1e-4,
        atol=1e-4,
    )


def test_neighbors_are_joined():
    """Two far clouds: no point lies between them."""
    vectors = torch.eye(6, SIZE)
    vectors[3:, 10] = 100.0
    shares = built(NEIGHBOR_INTERPOLATION.at(None), context(originals=vectors), count=60).raw
    shares = shares[:, :6]
    assert shares.gt(0).sum(1).le(2).all() and shares.sum(1).allclose(torch.ones(60))
    assert ((shares[:, :3].sum(1) > 1e-6) != (shares[:, 3:].sum(1) > 1e-6)).all()
