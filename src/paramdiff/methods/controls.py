"""Sanity anchors: parameters that learned nothing, lost their order, or are copies in disguise."""

import torch

from paramdiff.methods.method import Baseline, Construction, Material

NUM_ANCHORS = 10


def random() -> Baseline:
    """The selected tensors of freshly initialized networks, within the trained rest.

    One network where initial values are constant, as those of normalization layers are.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        assert material.untrained is not None
        seeds = torch.randint(2**31, (min(count, NUM_ANCHORS),), generator=generator)
        vectors = torch.stack([material.untrained(int(seed)) for seed in seeds])
        return Construction(vectors[:1] if vectors.eq(vectors[0]).all() else vectors)

    return Baseline("random", build, needs_network=True)


def permuted() -> Baseline:
    """Originals with the values of every tensor in random order: right values, wrong places."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        originals = material.originals
        source = torch.randperm(len(originals), generator=generator)[: min(count, NUM_ANCHORS)]
        vectors = originals[source].clone()
        for slot in material.layout.slots:
            for vector in vectors:
                order = torch.randperm(slot.stop - slot.start, generator=generator)
                vector[slot.start : slot.stop] = vector[slot.start : slot.stop][order]
        return Construction(vectors, source)

    return Baseline("permuted", build)


def rearranged() -> Baseline:
    """Originals whose units have traded places: copies by what they answer, new by plain L2."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        assert material.symmetries is not None
        source = torch.randperm(len(material.originals), generator=generator)
        source = source[: min(count, NUM_ANCHORS)]
        originals = material.originals[source]
        vectors = [material.symmetries.permute_randomly(vector, generator) for vector in originals]
        return Construction(torch.stack(vectors), source)

    return Baseline("rearranged", build)
