"""Untrained and shuffled values."""

import torch

from paramdiff.methods.controls import NUM_CONTROLS, SHUFFLED, UNTRAINED

from .contexts import LAYOUT, SIZE, built, context, raw_originals


def test_random_is_the_untrained_network_of_every_seed():
    asked = []

    def untrained(seed):
        asked.append(seed)
        return torch.full((SIZE,), float(len(asked)))

    vectors = built(UNTRAINED.at(None), context(untrained=untrained), count=200).vectors
    assert len(vectors) == NUM_CONTROLS
    assert vectors[:, 0].tolist() == [float(number + 1) for number in range(NUM_CONTROLS)]
    assert len(set(asked)) == NUM_CONTROLS


def test_constant_initial_values_are_one_network():
    """The weights and biases of normalization layers begin as 1 and 0 in every network."""
    given = context(untrained=lambda seed: torch.ones(SIZE))
    assert built(UNTRAINED.at(None), given, count=200).vectors.equal(torch.ones(1, SIZE))


def test_permuted_keeps_the_values_of_every_tensor():
    given = context()
    samples = built(SHUFFLED.at(None), given)
    assert len(set(samples.source.tolist())) == len(samples.source)
    for vector, source in zip(samples.vectors, samples.source, strict=True):
        original = given.originals[source]
        assert not vector.equal(original)
        for slot in LAYOUT.slots:
            place = slice(slot.start, slot.stop)
            assert vector[place].sort().values.equal(original[place].sort().values), slot.name


def test_permuted_keeps_raw_values_too():
    """All elements of a tensor share their constants, so shuffling before or after is the same."""
    raw = raw_originals()
    samples = built(SHUFFLED.at(None), context(raw))
    found = context(raw).normalization.invert(samples.vectors)
    for slot in LAYOUT.slots:
        place = slice(slot.start, slot.stop)
        torch.testing.assert_close(
            found[:, place].sort(1).values,
            raw[samples.source][:, place].sort(1).values,
            rtol=1e-4,
            atol=1e-4,
        )
