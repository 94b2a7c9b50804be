"""Planted baselines are not called better, and the choice of a baseline is no winner's curse."""

import pytest
from benchmarks import planted_baselines
from benchmarks.planted_baselines import ZOOS, Perceptrons, choices, planted, summary


@pytest.mark.slow
@pytest.mark.parametrize("zoo", ZOOS, ids=lambda zoo: zoo.name)
def test_what_needs_no_generator_is_not_called_better(zoo):
    """Strengths between the fixed ones: once a gap through which noise passed for a generator."""
    told = list(planted(zoo, num_seeds=3, first=1000))
    assert len(told) == 6
    assert not any(one["headline"].startswith("Better") for one in told)
    for noun in ("novelty", "diversity"):
        outcomes = [one[noun]["outcome"] for one in told]
        assert outcomes.count("better") <= 1 and outcomes.count("worse") <= 1, (noun, outcomes)


def test_a_small_zoo_goes_through(monkeypatch):
    monkeypatch.setattr(planted_baselines, "NUM_GENERATED", 12)
    told = list(planted(Perceptrons("tiny", 4, 2, 4), num_seeds=1))
    assert [one["planted"] for one in told] == ["noise@0.1", "multiswag@1.3"]
    sums = summary(told)
    assert sums["tiny, noise@0.1"]["n"] == 1
    for one in told:
        assert one["headline"].endswith(".")


def test_the_choice_among_equal_baselines_is_no_verdict():
    """2.5 % may be called worse; 150 repetitions leave the binomial 99.9 % range."""
    found = choices(150, num_networks=15, num_examples=400)
    assert sum(found.values()) == 150
    assert found["worse"] <= 10 and found["better"] <= 10
