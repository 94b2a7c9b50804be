"""Untrained and shuffled values."""

import torch

from paramdiff.methods.controls import NUM_ANCHORS, permuted, random

from .material import LAYOUT, SIZE, built, material, raw_originals


def test_random_is_the_untrained_network_of_every_seed():
    asked = []

    def untrained(seed):
        asked.append(seed)
        return torch.full((SIZE,), float(len(asked)))

    vectors = built(random(), material(untrained=untrained), count=200).vectors
    assert len(vectors) == NUM_ANCHORS
    assert vectors[:, 0].tolist() == [float(number + 1) for number in range(NUM_ANCHORS)]
    assert len(set(asked)) == NUM_ANCHORS


def test_constant_initial_values_are_one_network():
    """The weights and biases of normalization layers begin as 1 and 0 in every network."""
    given = material(untrained=lambda seed: torch.ones(SIZE))
    assert built(random(), given, count=200).vectors.equal(torch.ones(1, SIZE))


def test_permuted_keeps_the_values_of_every_tensor():
    given = material()
    construction = built(permuted(), given)
    assert len(set(construction.source.tolist())) == len(construction.source)
    for vector, source in zip(construction.vectors, construction.source, strict=True):
        original = given.originals[source]
        assert not vector.equal(original)
        for slot in LAYOUT.slots:
            place = slice(slot.start, slot.stop)
            assert vector[place].sort().values.equal(original[place].sort().values), slot.name


def test_permuted_keeps_raw_values_too():
    """All elements of a tensor share their constants, so shuffling before or after is the same."""
    raw = raw_originals()
    construction = built(permuted(), material(raw))
    found = material(raw).normalization.invert(construction.vectors)
    for slot in LAYOUT.slots:
        place = slice(slot.start, slot.stop)
        torch.testing.assert_close(
            found[:, place].sort(1).values,
            raw[construction.source][:, place].sort(1).values,
            rtol=1e-4,
            atol=1e-4,
        )
