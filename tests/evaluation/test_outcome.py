"""The outcome of a comparison, and what would decide one that is open."""

import pytest
import torch

from paramdiff.evaluation.bootstrap import Bootstrap, percentile_interval
from paramdiff.evaluation.comparison_schema import Comparison
from paramdiff.evaluation.outcome import needed, outcome
from paramdiff.evaluation.score_info import ScoreInfo

ACCURACY = ScoreInfo(equivalence_margin=0.005)


def comparison(low, high, difference=None):
    return Comparison(
        group="generated",
        reference="x",
        reference_dispersion=None,
        difference=(low + high) / 2 if difference is None else difference,
        ci95=(low, high),
    )


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.001, 0.02), "better"),
        ((-0.02, -0.001), "worse"),
        ((-0.01, 0.01), "undecided"),  # no difference shown is not no difference
        ((0.0, 0.01), "undecided"),
        ((-0.01, 0.0), "undecided"),
        ((-0.0049, 0.0049), "equivalent"),
        ((-0.005, 0.002), "undecided"),  # the margin itself is no longer within
        ((-0.002, 0.005), "undecided"),
        ((0.0, 0.0), "equivalent"),
        ((0.0001, 0.0008), "equivalent"),  # sure, and a trifle
        ((-0.0008, -0.0001), "equivalent"),
        ((0.0001, 0.0012), "better"),
    ],
)
def test_only_the_interval_decides(interval, expected):
    assert outcome(comparison(*interval), ACCURACY) == expected


def test_without_a_margin_nothing_is_equivalent_but_what_is_equal():
    score = ScoreInfo(name="reward", is_fraction=False)
    assert outcome(comparison(-1e-9, 1e-9), score, original=5.0) == "undecided"
    assert outcome(comparison(0.0, 0.0), score, original=5.0) == "equivalent"


def test_a_trifle_depends_on_the_originals_where_scores_are_no_fractions():
    score = ScoreInfo(name="reward", is_fraction=False, equivalence_margin=10.0)
    assert outcome(comparison(1, 3), score, original=3000.0) == "better"
    assert outcome(comparison(1, 3), score, original=5000.0) == "equivalent"


def test_a_margin_is_in_units_of_the_score():
    score = ScoreInfo(name="reward", is_fraction=False, equivalence_margin=0.5)
    assert outcome(comparison(-0.4, 0.3), score) == "equivalent"
    assert outcome(comparison(-0.4, 0.6), score) == "undecided"


def simulated(num_networks, num_examples, *, skill, seed=0):
    """Two groups of networks: per-network skill and per-network-and-example luck."""
    generator = torch.Generator().manual_seed(seed)
    hard = torch.randn(num_examples, generator=generator)
    groups = []
    for shift in (0.0, 0.02):
        talent = skill * torch.randn(num_networks, 1, generator=generator)
        luck = torch.randn(num_networks, num_examples, generator=generator)
        groups.append(shift + talent + hard + luck > -1)
    own, other = groups
    bootstrap = Bootstrap.over(num_examples, seed=seed)
    draws = bootstrap.means(own, 0) - bootstrap.means(other, 1)
    difference = float(own.float().mean() - other.float().mean())
    variances = (
        sum(float(one.float().mean(1).var()) / num_networks for one in groups),
        float((own.float().mean(0) - other.float().mean(0)).var()) / num_examples,
    )
    return difference, percentile_interval(draws), variances


def test_as_many_networks_as_are_said_to_be_needed_narrow_the_interval_to_the_margin():
    """Skill dominates, so that networks help and examples do not."""
    difference, interval, variances = simulated(10, 4000, skill=0.1)
    margin = abs(difference) + 0.01
    found = needed(difference, interval, margin, variances, (10, 4000))
    assert found.examples is None and found.networks > 10
    _, narrower, _ = simulated(found.networks, 4000, skill=0.1, seed=1)
    wanted = max(abs(difference), 0.01)
    assert (narrower[1] - narrower[0]) / 2 == pytest.approx(wanted, rel=0.35)


def test_both_together_always_help():
    found = needed(0.0, (-0.02, 0.02), 0.01, (5e-5, 5e-5), (20, 1000))
    assert found.factor == pytest.approx(4)
    assert found.networks is None and found.examples is None


@pytest.mark.parametrize(
    ("difference", "interval", "margin", "variances"),
    [
        (0.0, (-0.01, 0.01), None, (1e-5, 1e-5)),  # no difference and no margin: nothing decides
        (0.0, (0.0, 0.0), 0.005, (0.0, 0.0)),
        (1e-5, (-0.1, 0.1), None, (1e-3, 1e-3)),  # more than a hundred times as much
    ],
)
def test_no_impracticable_advice(difference, interval, margin, variances):
    assert needed(difference, interval, margin, variances, (20, 1000)) is None
