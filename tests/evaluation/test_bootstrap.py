"""The two-level bootstrap: exact moments, and coverage of a known truth by simulation."""

import numpy as np
import pytest
import torch

from paramdiff.evaluation.bootstrap import Bootstrap, percentile_interval
from paramdiff.settings import HIGHEST_SEED

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


def binomial_band(rate, level=4.0):
    """Where the share of ``NUM_REPETITIONS`` lies that come true at this rate (4 sigma)."""
    error = level * (rate * (1 - rate) / NUM_REPETITIONS) ** 0.5
    return rate - error, rate + error


def covers(draws, truth):
    low, high = percentile_interval(draws)
    return low <= truth <= high


def coverage(num_networks, num_examples, network_effect, example_effect, is_two_level=True):
    generator = torch.Generator().manual_seed(11)
    covered = 0
    for repetition in range(NUM_REPETITIONS):
        correct = two_level(num_networks, num_examples, network_effect, example_effect, generator)
        if not is_two_level:
            correct = correct.mean(0, keepdim=True)  # the networks as if they were all there are
        draws = Bootstrap.over(num_examples, seed=repetition, num_draws=300).means(correct)
        covered += covers(draws, 0.5)
    return covered / NUM_REPETITIONS


@pytest.mark.parametrize(
    ("network_effect", "example_effect"),
    [(0.15, 0.3), (0.3, 0.1), (0.1, 0.38)],  # both matter, networks do, examples do
)
def test_the_interval_covers_the_truth_at_the_stated_rate(network_effect, example_effect):
    """At 95%, within the simulation's binomial error; chance of single answers counts twice."""
    rate = coverage(25, 120, network_effect, example_effect)
    assert binomial_band(0.95)[0] <= rate <= binomial_band(0.97)[1]


def test_forgetting_a_level_covers_too_rarely():
    """The simulation can tell: without draws of networks the same data are covered far less."""
    assert coverage(25, 120, 0.3, 0.1, is_two_level=False) < 0.75


@pytest.mark.parametrize("difference", [0.0, 0.08])
def test_a_paired_difference_is_covered_at_the_stated_rate(difference):
    """Two groups of other networks on the same examples, of which one is better by a known sum."""
    generator = torch.Generator().manual_seed(5)
    covered = excluded = 0
    for repetition in range(NUM_REPETITIONS):
        networks = (torch.rand(50, 1, generator=generator) * 2 - 1) * 0.1
        networks[25:] -= difference
        examples = (torch.rand(1, 120, generator=generator) * 2 - 1) * 0.3
        correct = bernoulli(0.55 + networks + examples, generator)
        bootstrap = Bootstrap.over(120, seed=repetition, num_draws=300)
        draws = bootstrap.means(correct[:25], 0) - bootstrap.means(correct[25:], 1)
        covered += covers(draws, difference)
        excluded += not covers(draws, 0.0)
    rate = covered / NUM_REPETITIONS
    assert binomial_band(0.95)[0] <= rate <= binomial_band(0.97)[1]
    assert excluded / NUM_REPETITIONS > 0.4 or difference == 0  # it is found, too


def seed_coverage(num_seeds, seed_effect, example_effect):
    """Ten networks of each generator seed, whose mean accuracies differ."""
    generator = torch.Generator().manual_seed(3)
    seeds = torch.arange(num_seeds).repeat_interleave(10)
    with_seeds = without = 0
    for repetition in range(NUM_REPETITIONS):
        seed_group = (torch.rand(num_seeds, generator=generator) * 2 - 1) * seed_effect
        examples = (torch.rand(1, 100, generator=generator) * 2 - 1) * example_effect
        correct = bernoulli(0.5 + seed_group[seeds][:, None] + examples, generator)
        bootstrap = Bootstrap.over(100, seed=repetition, num_draws=300)
        with_seeds += covers(bootstrap.means(correct, 0, seeds), 0.5)
        without += covers(bootstrap.means(correct, 0), 0.5)
    return with_seeds / NUM_REPETITIONS, without / NUM_REPETITIONS


def test_six_generator_seeds_are_covered_at_nearly_the_stated_rate():
    """Of few seeds that differ much, percentiles know too little: 89% where nothing else varies.

    Student's t with 5 degrees of freedom says the same: of six normal means the bootstrap's 1.96
    standard errors, computed with 6 for 5, cover 87%. Pooling the seeds would be far worse.
    """
    rate, pooled = seed_coverage(6, 0.2, 0.1)
    low, high = binomial_band(0.88)
    assert low <= rate <= high
    assert pooled < 0.6


def test_one_generator_seed_is_no_level():
    correct = two_level(12, 30, 0.2, 0.25, torch.Generator().manual_seed(1))
    bootstrap = Bootstrap.over(30, seed=0)
    assert bootstrap.means(correct, 1).equal(bootstrap.means(correct, 1, torch.full((12,), 7)))


def test_larger_clusters_count_for_more_as_they_do_in_the_mean():
    """Two seeds: three networks that are right, and a single one that is wrong."""
    correct = torch.tensor([[1.0], [1.0], [1.0], [0.0]]).expand(-1, 20)
    seeds = torch.tensor([5, 5, 5, 9])
    draws = Bootstrap.over(20, seed=0, num_draws=4000).means(correct, 0, seeds)
    values, counts = draws.unique(return_counts=True)
    assert values.tolist() == [0, 0.75, 1]  # both wrong, one of each, both right
    assert (counts / 4000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.035)


@pytest.mark.parametrize("num_runs", [4, 12])
def test_checkpoints_of_few_runs_are_no_independent_networks(num_runs):
    """Runs differ, checkpoints of one hardly do: counted one by one they shorten the interval."""
    runs = torch.arange(num_runs).repeat_interleave(30)
    of_run = 0.3 * torch.randn(num_runs, 1, generator=torch.Generator().manual_seed(4))
    scores = of_run[runs] + 0.01 * torch.randn(len(runs), 1)
    bootstrap = Bootstrap.over(1, seed=0)
    by_run, by_checkpoint = bootstrap.means(scores, 0, runs), bootstrap.means(scores, 0)
    expected = float(of_run.std(correction=0)) / num_runs**0.5
    assert float(by_run.std()) == pytest.approx(expected, rel=0.1)
    assert width(by_checkpoint) < 0.4 * width(by_run)


def test_runs_of_one_checkpoint_each_are_independent_networks():
    correct = two_level(12, 30, 0.2, 0.25, torch.Generator().manual_seed(1))
    bootstrap = Bootstrap.over(30, seed=0)
    assert bootstrap.means(correct, 1).equal(bootstrap.means(correct, 1, torch.arange(12)))


# ---- the best of several


def best_draws(validation, test, seed=0, clusters=None):
    return Bootstrap.over(test.shape[1], seed=seed).best_on(validation, test, 0, clusters)


def test_the_best_of_coins_is_covered_and_not_flattered():
    """Each network is right with probability one half: the best of 40 is worth 50%."""
    generator = torch.Generator().manual_seed(6)
    covered = 0
    for repetition in range(100):
        validation, test = (torch.rand(40, 200, generator=generator) < 0.5 for _ in range(2))
        draws = best_draws(validation, test, repetition)
        assert abs(float(draws.mean()) - float(test.double().mean())) < 0.06
        covered += covers(draws, 0.5)
    assert covered >= 90


def test_a_sure_winner_has_the_interval_of_its_examples_alone():
    validation = torch.zeros(8, 50, dtype=torch.bool)
    validation[2] = True
    test = two_level(8, 200, 0.0, 0.3, torch.Generator().manual_seed(1)).bool()
    clusters = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    alone = Bootstrap.over(200, seed=0).means(test[2:3])
    draws = best_draws(validation, test)
    # where the winner was not drawn another one is the best, by chance
    assert percentile_interval(draws)[0] <= percentile_interval(alone)[0] + 0.02
    assert (draws[:, None] - alone[:, None]).abs().eq(0).double().mean() > 0.55
    assert best_draws(validation, test, 0, clusters).shape == draws.shape


def test_of_equally_good_networks_every_one_is_drawn():
    validation = torch.ones(5, 10, dtype=torch.bool)
    test = torch.zeros(5, 30, dtype=torch.bool)
    test[4] = True
    share = float((best_draws(validation, test) == 1).double().mean())
    assert share == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("seeds", [None, torch.arange(20) % 3])
@pytest.mark.parametrize("rate", [0.9, 1.0])
def test_groups_that_predict_alike_differ_by_exactly_0(seeds, rate):
    """A rounding error of 1e-8 in every draw would be a certain difference."""
    row = bernoulli(torch.full((1, 997), rate), torch.Generator().manual_seed(0))
    bootstrap = Bootstrap.over(997, seed=0)
    many = bootstrap.means(row.expand(20, -1), 1, seeds)
    assert many.equal(bootstrap.means(row, 2))
    assert many.equal(bootstrap.means(row.expand(7, -1), 3))
    low, high = percentile_interval(many)
    assert 0 <= low <= high <= 1


def test_examples_are_paired_and_networks_are_not():
    """Draws are the same where only examples differ, unrelated where only networks do."""
    bootstrap = Bootstrap.over(50, seed=0)
    by_example = (torch.arange(50) < 30).float().expand(8, -1)
    by_network = (torch.arange(8) < 5).float()[:, None].expand(-1, 50)
    assert bootstrap.means(by_example, 1).equal(bootstrap.means(by_example, 2))
    pair = torch.stack([bootstrap.means(by_network, stream) for stream in (1, 2)])
    assert abs(pair.corrcoef()[0, 1].item()) < 0.13  # 4 / sqrt(1000)


def test_means_over_examples_are_those_of_one_network():
    values = torch.randn(40, generator=torch.Generator().manual_seed(0))
    bootstrap = Bootstrap.over(40, seed=0)
    torch.testing.assert_close(bootstrap.of_examples(values), bootstrap.means(values[None]))


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
    assert one.example_counts.equal(same.example_counts)
    assert one.means(correct, 1).equal(same.means(correct, 1))
    assert not one.example_counts.equal(other.example_counts)
    before = torch.get_rng_state()
    Bootstrap.over(30, seed=4).means(correct)
    assert torch.get_rng_state().equal(before)


def test_examples_are_drawn_with_replacement():
    counts = Bootstrap.over(10, seed=0, num_draws=500).example_counts
    assert counts.shape == (500, 10)
    assert counts.sum(1).eq(10).all()
    assert counts.round().equal(counts)
    # a draw leaves out an example with probability (1 - 1/10)^10
    assert counts.eq(0).float().mean().item() == pytest.approx(0.9**10, abs=0.02)


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


def test_where_a_split_has_one_score_networks_alone_are_drawn():
    scores = torch.randn(40, 1, generator=torch.Generator().manual_seed(2))
    bootstrap = Bootstrap.over(1, seed=0)
    draws = bootstrap.means(scores)
    # the standard error of a mean of 40
    expected = float(scores.std(correction=0)) / 40**0.5
    assert float(draws.std()) == pytest.approx(expected, rel=0.1)
    assert float(draws.mean()) == pytest.approx(float(scores.mean()), abs=0.2 * expected)
    alone = bootstrap.means(scores[:1])
    assert alone.unique().tolist() == pytest.approx([float(scores[0])])


def test_scores_that_are_counts_are_drawn_alike_as_numbers():
    is_right = torch.rand(12, 30, generator=torch.Generator().manual_seed(2)) < 0.7
    bootstrap = Bootstrap.over(30, seed=0)
    assert bootstrap.means(is_right).equal(bootstrap.means(is_right.float()))


def test_equal_networks_do_not_differ_by_rounding():
    """Large scores of groups of other sizes: their draws agree to far below what is negligible."""
    row = 1e6 * torch.rand(1, 200, generator=torch.Generator().manual_seed(2))
    bootstrap = Bootstrap.over(200, seed=0)
    one, other = (bootstrap.means(row.expand(num, -1), num) for num in (7, 50))
    assert float((one - other).abs().max()) < 1e-6


def test_the_highest_seed_draws_too():
    shared = Bootstrap.over(4, seed=HIGHEST_SEED, num_draws=10)
    assert shared.means(torch.rand(3, 4) < 0.5, stream=50).shape == (10,)
