"""The simulations of the benchmark, small: what it reports is what it says."""

import pytest
import torch
from benchmarks.null_tests import CHECKPOINTS, NUM_EXAMPLES, copying_tests, guesses, one_each, runs

REPETITIONS = 60


@pytest.mark.parametrize("num_held_out_runs", [10, 30])
def test_who_copied_nothing_is_not_accused(num_held_out_runs):
    """By run the test is one, by checkpoint it accuses many: 4 sigma of 60 repetitions."""
    found = copying_tests(4, num_held_out_runs, REPETITIONS, seed=0)
    assert abs(found["mean, by run"]) < 4 / REPETITIONS**0.5
    assert 0.6 < found["standard deviation, by run"] < 1 + 4 / (2 * REPETITIONS) ** 0.5
    assert found["below -3, by run"] <= 1 / REPETITIONS
    if num_held_out_runs == 10:
        assert found["standard deviation, by checkpoint"] > 1.5


def test_below_ten_held_out_runs_nothing_is_tested():
    found = copying_tests(4, 9, 1, seed=0)
    assert found["tested, by run"] == 0 and "mean, by run" not in found
    assert found["tested, by checkpoint"] == 1


def test_runs_are_walks_about_centres_of_their_own():
    walks, numbers = runs(5, torch.Generator().manual_seed(0))
    assert len(walks) == len(numbers) == 5 * CHECKPOINTS
    each = walks.view(5, CHECKPOINTS, -1)
    within = (each[:, 1:] - each[:, :-1]).norm(dim=2).mean()
    between = torch.cdist(each[:, 0], each[:, 0]).sum() / 20
    assert within < between / 10
    assert one_each(7, torch.Generator().manual_seed(0)).shape == (7, walks.shape[1])


def test_guessers_are_worth_a_guess():
    found = guesses(40, seed=0)
    assert found["test"] == pytest.approx(0.5, abs=4 * 0.5 / (40 * NUM_EXAMPLES) ** 0.5)
    assert found["validation"] > 0.56
    assert found["covered"] >= 0.9
