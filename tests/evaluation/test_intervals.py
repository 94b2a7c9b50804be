"""The two-level bootstrap: exact moments, and coverage of a known truth by simulation."""

import numpy as np
import pytest
import torch

from paramdiff.evaluation.intervals import Bootstrap, percentile_interval

NUM_REPETITIONS = 200


def bernoulli(probabilities, generator):
    return (torch.rand(probabilities.shape, generator=generator) < probabilities).float()


def two_level(num_networks, num_examples, network_effect, example_effect, generator, mean=0.5):
    """Indicators whose expected mean over other networks and examples is ``mean``."""
    networks = (torch.rand(num_networks, 1, generator=generator) * 2 - 1) * network_effect
    examples = (torch.rand(1, num_examples, generator=generator) * 2 - 1) * example_effect
    return bernoulli(mean + networks + examples, generator)


def exact_second_moment(correct):
    """E[(w' C v)^2] for independent multinomial weights w and v, from their second moments."""

    def moments(size):
        return ((size - 1) / size * np.ones((size, size)) + np.eye(size)) / size**2

    c = correct.double().numpy()
    return np.trace(moments(c.shape[0]) @ c @ moments(c.shape[1]) @ c.T)


@pytest.mark.parametrize("shape", [(1, 40), (15, 1), (12, 30), (3, 200)])
def test_the_draws_have_the_exact_mean_and_variance(shape):
    correct = two_level(*shape, 0.2, 0.25, torch.Generator().manual_seed(1))
    draws = Bootstrap.over(shape[1], seed=0, num_draws=8000).means(correct).double()
    mean = float(correct.mean())
    std = (exact_second_moment(correct) - mean**2) ** 0.5
    assert draws.mean().item() == pytest.approx(mean, abs=4 * std / 8000**0.5)
    assert draws.std().item() == pytest.approx(std, rel=0.05)


def test_one_network_has_the_binomial_interval():
    num_examples, num_correct = 400, 300
    correct = torch.zeros(1, num_examples)
    correct[:, :num_correct] = 1
    std = (0.75 * 0.25 / num_examples) ** 0.5
    draws = Bootstrap.over(num_examples, seed=3, num_draws=8000).means(correct)
    assert draws.std().item() == pytest.approx(std, rel=0.04)
    low, high = percentile_interval(draws)
    assert (low, high) == pytest.approx((0.75 - 1.96 * std, 0.75 + 1.96 * std), abs=0.003)


def coverage(num_networks, num_examples, network_effect, example_effect, is_two_level=True):
    generator = torch.Generator().manual_seed(11)
    covered = 0
    for repetition in range(NUM_REPETITIONS):
        correct = two_level(num_networks, num_examples, network_effect, example_effect, generator)
        if not is_two_level:
            correct = correct.mean(0, keepdim=True)  # the networks as if they were all there are
        draws = Bootstrap.over(num_examples, seed=repetition, num_draws=300).means(correct)
        low, high = percentile_interval(draws)
        covered += low <= 0.5 <= high
    return covered / NUM_REPETITIONS


@pytest.mark.parametrize(
    ("network_effect", "example_effect"),
    [(0.15, 0.3), (0.3, 0.1), (0.1, 0.38)],  # both matter, networks do, examples do
)
def test_the_interval_covers_the_truth_at_the_stated_rate(network_effect, example_effect):
    rate = coverage(25, 120, network_effect, example_effect)
    assert 0.9 <= rate <= 0.995


def test_forgetting_a_level_covers_too_rarely():
    """The simulation can tell: without draws of networks the same data are covered far less."""
    assert coverage(25, 120, 0.3, 0.1, is_two_level=False) < 0.75


def test_paired_differences_of_equal_groups_cover_0():
    generator = torch.Generator().manual_seed(5)
    covered = 0
    for repetition in range(NUM_REPETITIONS):
        correct = two_level(50, 120, 0.15, 0.3, generator)
        bootstrap = Bootstrap.over(120, seed=repetition, num_draws=300)
        # two groups of 25 networks on the same examples
        low, high = percentile_interval(
            bootstrap.means(correct[:25], 0) - bootstrap.means(correct[25:], 1)
        )
        covered += low <= 0 <= high
    assert 0.9 <= covered / NUM_REPETITIONS <= 0.999


def width(draws):
    low, high = percentile_interval(draws)
    return high - low


def test_pairing_on_examples_narrows_a_difference():
    generator = torch.Generator().manual_seed(2)
    correct = two_level(20, 150, 0.02, 0.45, generator)
    shifted = correct.clone()
    shifted[:, :5] = 0  # five more examples that all networks get wrong
    one, other = Bootstrap.over(150, seed=0), Bootstrap.over(150, seed=1)
    paired = width(one.means(correct, 0) - one.means(shifted, 1))
    unpaired = width(one.means(correct, 0) - other.means(shifted, 1))
    assert paired < 0.6 * unpaired


def test_a_group_against_itself_is_0():
    correct = two_level(4, 30, 0.1, 0.3, torch.Generator().manual_seed(0))
    bootstrap = Bootstrap.over(30, seed=0)
    assert bootstrap.means(correct, 2).equal(bootstrap.means(correct, 2))
    # a copy has draws of networks of its own, but with one network nothing is left to draw
    assert not bootstrap.means(correct, 2).equal(bootstrap.means(correct, 3))
    assert bootstrap.means(correct[:1], 2).equal(bootstrap.means(correct[:1], 3))


def test_seeds_determine_the_draws():
    correct = two_level(4, 30, 0.1, 0.3, torch.Generator().manual_seed(0))
    one, same, other = (Bootstrap.over(30, seed=seed) for seed in (4, 4, 5))
    assert one.example_weights.equal(same.example_weights)
    assert one.means(correct, 1).equal(same.means(correct, 1))
    assert not one.example_weights.equal(other.example_weights)
    before = torch.get_rng_state()
    Bootstrap.over(30, seed=4).means(correct)
    assert torch.get_rng_state().equal(before)


def test_weights_are_shares_of_draws_with_replacement():
    weights = Bootstrap.over(10, seed=0, num_draws=500).example_weights
    assert weights.shape == (500, 10)
    torch.testing.assert_close(weights.sum(1), torch.ones(500))
    assert (weights * 10).round().allclose(weights * 10)
    # a draw leaves out an example with probability (1 - 1/10)^10
    assert weights.eq(0).float().mean().item() == pytest.approx(0.9**10, abs=0.02)


def test_percentiles_are_numpys():
    draws = torch.randn(777)
    expected = tuple(np.quantile(draws.double().numpy(), [0.025, 0.975]))
    assert percentile_interval(draws) == pytest.approx(expected)
    expected = tuple(np.quantile(draws.double().numpy(), [0.25, 0.75]))
    assert percentile_interval(draws, 0.5) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_certainty_has_no_width(value):
    draws = Bootstrap.over(20, seed=0).means(torch.full((3, 20), value))
    assert percentile_interval(draws) == pytest.approx((value, value), abs=1e-6)
