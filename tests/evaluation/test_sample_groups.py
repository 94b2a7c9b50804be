"""Which groups there are, and in which values."""

import torch

from paramdiff.evaluation.baselines import left_out, made
from paramdiff.evaluation.matched_strengths import Matched
from paramdiff.evaluation.sample_groups import given_groups
from paramdiff.methods.data_use import NO_DATA, DataBudget, DataUse
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.normalization import fit_normalization
from tests.methods.contexts import context, raw_originals

from .linear import LAYOUT, good, inputs_of, perfect_codec


def groups_of(**fields):
    made = inputs_of(good(20, 3), **fields)
    return list(given_groups(made, fit_normalization(made.originals, LAYOUT)))


def test_what_is_given_is_scored_as_it_is():
    groups = groups_of(latents=perfect_codec())
    assert [group.name for group in groups] == [
        "original",
        "generated",
        "held_out",
        "reconstructed",
    ]
    original, generated, held_out, reconstructed = groups
    assert original.raw.equal(good(30, 1)) and generated.raw.equal(good(20, 3))
    assert held_out.raw.equal(good(10, 2)) and reconstructed.raw.equal(good(30, 1))
    normalization = fit_normalization(good(30, 1), LAYOUT)
    for group in groups:
        torch.testing.assert_close(normalization.invert(group.vectors), group.raw)
    assert original.source.equal(torch.arange(30))
    # whatever the codec made is judged as it came: an original is a copy, not its own neighbor
    assert generated.source is None and reconstructed.source is None


def test_groups_that_are_not_there():
    assert [group.name for group in groups_of(held_out=good(0, 2))] == ["original", "generated"]


def test_generator_seeds_travel_with_the_generated_networks():
    seeds = torch.arange(20) // 10
    original, generated, _ = groups_of(generator_seeds=seeds)
    assert generated.seeds.equal(seeds) and original.seeds is None


def test_generated_networks_are_labelled_with_what_their_generator_used():
    groups = groups_of(latents=perfect_codec(), data_budget=DataBudget(640, "inputs"))
    used = {group.name: group.data_used for group in groups if group.data_used != NO_DATA}
    expected = DataUse("inputs", "training", 640)
    assert used == {"generated": expected, "reconstructed": expected}


def made_of(name, count=5, seed=0):
    """A registered baseline, at the strength of its name, of a few originals."""
    given = context()
    return made(Matched(member(name), None), given, count, seed), given


def member(name):
    """The member with a name, of those at fixed strengths."""
    method = METHODS[name.partition("@")[0]]
    (found,) = (
        method.at(strength)
        for strength in method.strengths.fixed
        if method.at(strength).name == name
    )
    return found


def test_constructed_groups_are_as_many_and_in_raw_values():
    for name in ("gaussian@1.0", "interpolation", "noise@0.001", "average@2"):
        group, given = made_of(name)
        assert group.raw.shape == given.originals[:5].shape and group.name == name
        torch.testing.assert_close(
            group.raw, given.normalization.invert(group.vectors), rtol=1e-5, atol=1e-5
        )
    noised, given = made_of("noise@0.001")
    torch.testing.assert_close(
        noised.vectors, given.originals[noised.source], rtol=0.05, atol=0.05
    )
    assert made_of("greedy_soup")[0].data_used == DataUse("labels", "validation")


def test_re_estimating_batchnorm_statistics_uses_inputs():
    """A soup has seen labels before; its name says what was done."""
    group = made(Matched(member("average@2"), None, finish="batchnorm"), context(), 3, 0)
    assert group.name == "average@2+bn" and group.data_used == DataUse("inputs", "training")
    soup = made(Matched(member("greedy_soup"), None, finish="batchnorm"), context(), 3, 0)
    assert soup.data_used == DataUse("labels", "validation")


def test_seeds_determine_the_draws_and_every_group_has_its_own():
    one, same, other = (made_of("kde", seed=seed)[0].vectors for seed in (3, 3, 4))
    assert one.equal(same) and not one.equal(other)
    (narrow, given), (wide, _) = made_of("gaussian@0.5"), made_of("gaussian@1.0")
    mean = given.originals.mean(0)
    assert not torch.allclose(2 * (narrow.vectors - mean), wide.vectors - mean, atol=0.1)


def test_what_is_left_out_is_a_fact():
    several = raw_originals(64)
    assert left_out(context(several), {}) == {
        "Left out": "run_average (needs several runs with several checkpoints each), "
        "multiswag (needs several runs with several checkpoints each)"
    }
    unknown = context(several, runs=torch.arange(64) // 32, steps=None, base=None)
    assert left_out(unknown, {})["Left out"] == ", ".join(
        f"{method.name} ({method.missing(unknown)})"
        for need in ("order", "base")
        for method in METHODS.values()
        if need in method.needs
    )
    few = context(raw_originals(20), untrained=None, runs=torch.arange(20) // 10)
    assert left_out(few, {"kde": "broken"}) == {
        "Left out": "average@64 (needs 64 checkpoints), random (needs the network), kde (broken)"
    }
