"""The permutation test for one trajectory: uniform on independent draws, sure on a walk."""

import pytest
import torch
from scipy.stats import kstest

from paramdiff.evaluation.trajectory import NUM_ORDERS, related_groups, trajectory_of


def draws(num, seed, size=6):
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed))


def walk(num, seed):
    return draws(num, seed).cumsum(0)


def test_p_is_uniform_on_independent_draws():
    found = [trajectory_of(draws(20, seed), seed).p_value for seed in range(200)]
    assert kstest(found, "uniform").pvalue > 0.001
    # no more trajectories are seen than chance allows: 1%, and 4 sigma of 200 draws
    assert sum(p <= 0.01 for p in found) / 200 <= 0.01 + 4 * (0.01 * 0.99 / 200) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_random_walk_is_a_trajectory(seed):
    found = trajectory_of(walk(30, seed), seed)
    assert found.p_value == 1 / (NUM_ORDERS + 1)
    assert found.is_found
    assert found.step_ratio < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_a_shuffled_walk_is_none(seed):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    assert not trajectory_of(walk(30, seed)[order], seed).is_found


def test_backwards_it_is_the_same_trajectory():
    forwards, backwards = (
        trajectory_of(vectors, 0) for vectors in (walk(30, 1), walk(30, 1).flip(0))
    )
    assert forwards.step_ratio == pytest.approx(backwards.step_ratio)
    assert backwards.is_found


def test_points_that_alternate_are_far_from_a_trajectory():
    sides = torch.tensor([-5.0, 5.0]).repeat(10)[:, None]
    found = trajectory_of(sides + 0.1 * draws(20, 0, 1), 0)
    assert found.p_value > 0.99
    assert found.step_ratio > 1.5


def test_the_step_ratio_by_hand():
    """On a line at 0 to 7: steps of 1, and a mean distance of (num + 1) / 3 of all pairs."""
    found = trajectory_of(torch.arange(8.0)[:, None], 0)
    assert found.step_ratio == pytest.approx(1 / 3)


@pytest.mark.parametrize("num", [1, 7])
def test_too_few_are_not_tested(num):
    assert trajectory_of(walk(num, 0), 0) is None


@pytest.mark.parametrize("num", [8, 25, 26, 60, 300])
def test_equal_originals_are_not_tested(num):
    """However many: a rounding error is no distance."""
    assert trajectory_of(draws(1, 3, 100).repeat(num, 1), 0) is None


def test_the_seed_determines_the_orders():
    originals = draws(20, 3)
    assert trajectory_of(originals, 1) == trajectory_of(originals, 1)
    p_values = {trajectory_of(originals, seed).p_value for seed in range(5)}
    assert len(p_values) > 1 and max(p_values) - min(p_values) < 0.1


def runs_of(num, *, apart, seed=0, length=10, size=200):
    """Walks from starts so far apart, and the run of each network."""
    walks = [
        apart * draws(1, 100 + run, size) + 0.3 * walk_of(length, seed + run, size)
        for run in range(num)
    ]
    return torch.cat(walks), torch.arange(num).repeat_interleave(length)


def walk_of(num, seed, size):
    return draws(num, seed, size).cumsum(0)


@pytest.mark.parametrize("apart", [0.0, 10.0])
def test_several_runs_are_no_single_trajectory(apart):
    vectors, runs = runs_of(4, apart=apart)
    found = trajectory_of(vectors, 0, runs)
    assert found.num_runs == 4 and found.is_ordered and not found.is_found
    assert found.between_runs > (5 if apart else 1)
    alone = trajectory_of(vectors[:10], 0)
    assert found.step_ratio == pytest.approx(alone.step_ratio, rel=0.2)


def test_runs_of_independent_draws_have_no_order():
    p_values = [
        trajectory_of(draws(20, seed), seed, torch.arange(4).repeat_interleave(5)).p_value
        for seed in range(200)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_runs_may_lie_in_turn():
    vectors, runs = runs_of(3, apart=5.0)
    order = torch.arange(30).reshape(3, 10).T.reshape(-1)
    found, other = trajectory_of(vectors, 0, runs), trajectory_of(vectors[order], 0, runs[order])
    assert other.step_ratio == pytest.approx(found.step_ratio)
    assert other.is_ordered


def test_runs_that_nothing_marks_are_no_single_trajectory():
    vectors, _ = runs_of(4, apart=10.0)
    found = trajectory_of(vectors, 0)
    assert (found.num_runs, found.num_unrelated) == (1, 4)
    assert found.is_ordered and not found.is_found


@pytest.mark.parametrize("seed", range(5))
def test_one_walk_shares_its_start(seed):
    assert related_groups(draws(1, seed, 200) + walk_of(60, seed, 200)).max() == 0


def test_groups_that_share_nothing():
    starts = draws(3, 0, 400)
    rows = torch.tensor([0, 1, 1, 2, 0, 2])
    groups = related_groups(starts[rows] + 0.2 * draws(6, 1, 400))
    assert groups.tolist() == rows.tolist()
    assert related_groups(draws(6, 0, 10)).tolist() == [0] * 6  # too few values to tell


@pytest.mark.parametrize(("num", "length"), [(12, 1), (6, 2)])
def test_runs_without_three_in_a_row_are_not_tested(num, length):
    vectors, runs = runs_of(num, apart=1.0, length=length)
    assert trajectory_of(vectors, 0, runs) is None
