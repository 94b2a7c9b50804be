"""Which groups there are, in which values, and what stands for a codec where there is none."""

from dataclasses import replace

import pytest
import torch

from paramdiff.evaluation.baselines.catalogue import BASELINES
from paramdiff.evaluation.data_use import NO_DATA, DataBudget, DataUse
from paramdiff.evaluation.groups import (
    constructed,
    free_baselines,
    given_groups,
    latents_of,
    left_out,
)
from paramdiff.evaluation.spread import dispersion
from paramdiff.evaluation.subject import LatentSpace
from paramdiff.parameters.normalisation import fit_normalisation

from .baselines.material import material, raw_originals
from .linear import LAYOUT, SIZE, good, perfect_codec, subject


def given(**fields):
    made = subject(good(20, 3), **fields)
    return list(given_groups(made, fit_normalisation(made.originals, LAYOUT)))


def test_what_is_given_is_scored_as_it_is():
    groups = given(latents=perfect_codec())
    assert [group.name for group in groups] == [
        "original",
        "generated",
        "held_out",
        "reconstructed",
    ]
    original, generated, held_out, reconstructed = groups
    assert original.raw.equal(good(30, 1)) and generated.raw.equal(good(20, 3))
    assert held_out.raw.equal(good(10, 2)) and reconstructed.raw.equal(good(30, 1))
    normalisation = fit_normalisation(good(30, 1), LAYOUT)
    for group in groups:
        torch.testing.assert_close(normalisation.invert(group.vectors), group.raw)
    assert original.source.equal(torch.arange(30))
    # whatever the codec made is judged as it came: an original is a copy, not its own neighbour
    assert generated.source is None and reconstructed.source is None


def test_groups_that_are_not_there():
    assert [group.name for group in given(held_out=good(0, 2))] == ["original", "generated"]


def test_generator_seeds_travel_with_the_generated_networks():
    seeds = torch.arange(20) // 10
    original, generated, _ = given(generator_seeds=seeds)
    assert generated.seeds.equal(seeds) and original.seeds is None


def free(generated, raw=None, seed=0):
    made = material(raw)
    found = [
        constructed(baseline, made, len(generated), seed)
        for baseline in free_baselines(made, generated)
    ]
    return {group.name: group for group in found}, made


def test_generated_networks_are_labelled_with_what_their_generator_used():
    groups = given(latents=perfect_codec(), data_budget=DataBudget(640, "inputs"))
    used = {group.name: group.data for group in groups if group.data != NO_DATA}
    expected = DataUse("inputs", "training", 640)
    assert used == {"generated": expected, "reconstructed": expected}


def test_free_groups_are_as_many_and_in_raw_values():
    groups, made = free(material().originals[:5])
    assert groups["gaussian@1.0"].raw.shape == made.originals[:5].shape
    for group in groups.values():
        torch.testing.assert_close(
            group.raw, made.normalisation.invert(group.vectors), rtol=1e-5, atol=1e-5
        )
    noised = groups["noise@0.001"]
    torch.testing.assert_close(noised.vectors, made.originals[noised.source], rtol=0.05, atol=0.05)
    assert groups["greedy_soup"].data == DataUse("labels", "validation")


@pytest.mark.parametrize(("spread", "name"), [(0.63, "gaussian@0.63"), (2.0, "gaussian@2.0")])
def test_the_matched_gaussian_spreads_as_the_generated_networks(spread, name):
    originals = material(raw_originals(30)).originals
    generated = originals.mean(0) + spread * (originals - originals.mean(0))
    groups, made = free(generated, raw_originals(30))
    assert dispersion(groups[name].vectors, made.originals) == pytest.approx(spread, rel=0.1)


def test_a_gaussian_of_the_catalogue_is_not_made_twice():
    originals = material(raw_originals(30)).originals
    names = [one.name for one in free_baselines(material(raw_originals(30)), originals)]
    assert names.count("gaussian@1.0") == 1 and len(names) == len(set(names))


def test_one_generated_network_has_no_matched_gaussian():
    groups, _ = free(material().originals[:1])
    assert set(groups) <= {baseline.name for baseline in BASELINES}
    assert {len(group.raw) for group in groups.values()} == {1}


def test_seeds_determine_the_draws_and_every_group_has_its_own():
    vectors = material().originals
    one, same, other = (free(vectors, seed=seed)[0] for seed in (3, 3, 4))
    assert one["kde"].vectors.equal(same["kde"].vectors)
    assert not one["kde"].vectors.equal(other["kde"].vectors)
    narrow, wide = (one[name].vectors for name in ("gaussian@0.5", "gaussian@1.0"))
    mean = vectors.mean(0)
    assert not torch.allclose(2 * (narrow - mean), wide - mean, atol=0.1)


def test_what_is_left_out_is_a_fact():
    assert left_out(material(raw_originals(64)), {}) == {}
    assert left_out(material(raw_originals(20), untrained=None), {"kde": "broken"}) == {
        "Left out": "average@64 (needs 64 checkpoints), random (needs the network), kde (broken)"
    }


def test_a_codec_gives_the_latents():
    def encode(vectors):
        return vectors[:, :2] * 10

    def decode(latents):
        return torch.cat([latents / 10, torch.ones(len(latents), SIZE - 2)], 1)

    made = subject(good(20, 3), latents=LatentSpace(encode, decode))
    normalisation = fit_normalisation(made.originals, LAYOUT)
    originals = normalisation.apply(made.originals)
    latents, back = latents_of(made, originals, normalisation)
    assert latents.equal(encode(made.originals))
    seeing = replace(made, data_budget=DataBudget(640, "labels"))
    free, _ = latents_of(seeing, originals, normalisation)
    assert not torch.equal(free, latents)  # what is free must not decode by what saw data
    # vectors are normalised, a codec's are raw
    torch.testing.assert_close(back(latents), normalisation.apply(decode(latents)))


def test_without_a_codec_principal_components_are_the_latents():
    """Enough of them for 80% of the variance, so that a kernel density knows where it is."""
    made = subject(good(20, 3))
    originals = fit_normalisation(made.originals, LAYOUT).apply(made.originals)
    latents, back = latents_of(made, originals, fit_normalisation(made.originals, LAYOUT))
    assert 1 <= latents.shape[1] < SIZE
    share = dispersion(back(latents), originals) ** 2
    assert 0.8 <= share < 0.95
