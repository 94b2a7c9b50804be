"""Controls: parameters that learned nothing or lost their order, and permuted copies."""

import torch

from paramdiff.methods.draws import Draws
from paramdiff.methods.method import GRAY, Method, Style
from paramdiff.methods.method_context import MethodContext, Samples

NUM_CONTROLS = 10


def sample_untrained(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Take the selected tensors of freshly initialized networks, within the trained rest.

    One network if initial values are constant, as those of normalization layers are.
    """
    assert context.untrained is not None
    seeds = draws.first(NUM_CONTROLS).integers(2**31)
    vectors = torch.stack([context.untrained(int(seed)) for seed in seeds])
    return Samples(vectors[:1] if vectors.eq(vectors[0]).all() else vectors)


def sample_shuffled(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Put the values of every tensor of some originals in random order."""
    originals = context.originals
    draws = draws.first(min(len(originals), NUM_CONTROLS))
    source = draws.in_turn(len(originals))
    vectors = originals[source].clone()
    for vector, generator in zip(vectors, draws.each, strict=True):
        for slot in context.layout.slots:
            order = torch.randperm(slot.stop - slot.start, generator=generator)
            vector[slot.start : slot.stop] = vector[slot.start : slot.stop][order]
    return Samples(vectors, source)


def sample_permuted_copies(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Permute the units of some originals: copies by their predictions, new by plain L2."""
    assert context.symmetries is not None
    draws = draws.first(min(len(context.originals), NUM_CONTROLS))
    source = draws.in_turn(len(context.originals))
    vectors = [
        context.symmetries.permute_randomly(vector, generator)
        for vector, generator in zip(context.originals[source], draws.each, strict=True)
    ]
    return Samples(torch.stack(vectors), source)


UNTRAINED = Method(
    "random",
    label="Untrained values",
    phrase="untrained values of the selected tensors",
    style=Style(GRAY, "x"),
    sample=sample_untrained,
    role="control",
    needs=frozenset({"network"}),
    parts={"fine-tuning curves": (None,), "aligned distance": (None,)},
)
SHUFFLED = Method(
    "permuted",
    label="Originals, values shuffled",
    phrase="checkpoints with shuffled values",
    style=Style(GRAY, "d"),
    sample=sample_shuffled,
    role="control",
)
PERMUTED_COPIES = Method(
    "rearranged",
    label="Permuted copies of originals",
    phrase="permuted copies of the checkpoints",
    reference="Permutation symmetries: Hecht-Nielsen 1990; Ainsworth et al. 2023 "
    "(arXiv 2209.04836)",
    style=Style(GRAY, "h"),
    sample=sample_permuted_copies,
    role="control",
    needs=frozenset({"symmetries"}),
    parts={"aligned distance": (None,)},
)
