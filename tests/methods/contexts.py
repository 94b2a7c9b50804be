"""Originals whose tensors differ much in size and spread, and contexts of methods."""

from dataclasses import replace

import torch

from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Member
from paramdiff.methods.method_context import MethodContext, Samples
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import Normalization, fit_normalization

MEMBERS = [
    member
    for method in METHODS.values()
    if method.role in ("baseline", "control")
    and method.name not in ("multiswag", "run_average", "rearranged")
    for member in method.members
]
"""Baselines and controls of every evaluation of one training run."""
STATE = {
    "small.weight": torch.zeros(30, 20),
    "bias": torch.zeros(2),
    "norm.running_var": torch.zeros(8),
    "big.weight": torch.zeros(500),
}
LAYOUT = ParameterLayout.of(STATE, list(STATE))
SIZE = LAYOUT.num_parameters


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def raw_originals(num=6, seed=1):
    """Each checkpoint's tensors have spreads of their own, between 0.01 and 300."""
    vectors = torch.randn(num, SIZE, generator=generator(seed))
    for number, slot in enumerate(LAYOUT.slots):
        part = vectors[:, slot.start : slot.stop]
        if slot.is_running_variance:
            part.copy_((0.4 * part).exp() + 0.5)
        else:
            part *= torch.logspace(-2 + number, number - 0.5, num)[:, None]
    return vectors


def untrained(seed):
    return torch.randn(SIZE, generator=generator(seed)).abs()


def context(raw=None, **fields):
    """Everything that a method may use.

    ``fields`` replace what follows from the raw originals; given originals are raw, too.
    """
    raw = raw_originals() if raw is None else raw
    normalization = fit_normalization(raw, LAYOUT)
    originals = normalization.apply(raw)
    made = MethodContext(
        originals=originals,
        raw=raw,
        layout=LAYOUT,
        normalization=normalization,
        untrained=lambda seed: normalization.apply(untrained(seed)),
        validation_score=torch.zeros(len(raw)),
        validate=lambda vectors: torch.zeros(len(vectors)),
        steps=torch.arange(len(raw)) + 1,
        base=raw_originals(1, seed=9)[0],
    )
    if "originals" in fields:
        nothing = torch.zeros(fields["originals"].shape[1])
        fields = {"steps": torch.arange(len(fields["originals"])) + 1, "base": nothing, **fields}
        fields |= {
            "raw": fields["originals"],
            "normalization": Normalization(nothing, nothing + 1, nothing),
        }
    return replace(made, **fields)


def built(
    member: Member, given: MethodContext | None = None, count: int = 9, seed: int = 0
) -> Samples:
    return member.sample(given or context(), Draws(count, seed, "test"))
