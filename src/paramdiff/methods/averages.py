"""Weight averages: of all originals, of k, a greedy soup, and points between two.

What is averaged are raw values, running variances included, as the paper's ensemble does. All are
combinations with shares between 0 and 1, so that variances stay positive.
"""

import torch
from torch import Tensor

from paramdiff.memmap import column_moments, free_pages
from paramdiff.methods.data_use import DataUse
from paramdiff.methods.method import Baseline, Construction, Material
from paramdiff.methods.subspace import combined


def average_all() -> Baseline:
    """The mean of all originals (the paper's "ensemble"; a uniform soup, Wortsman et al. 2022)."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        return _of_raw(material, column_moments(material.raw)[0].float()[None])

    return Baseline("average@all", build, finishes=True)


def average(members: int) -> Baseline:
    """Means of ``members`` different originals, drawn anew for each (Zeng et al. use 16)."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        num = len(material.raw)
        draws = [torch.randperm(num, generator=generator) for _ in range(count)]
        shares = torch.zeros(count, num)
        shares.scatter_(1, torch.stack(draws)[:, :members], 1 / members)
        return _of_raw(material, combined(material.raw, shares))

    return Baseline(f"average@{members}", build, min_originals=members, finishes=True)


def greedy_soup() -> Baseline:
    """The greedy soup (Wortsman et al. 2022, recipe 1): one network, chosen on validation data.

    Originals are tried in the order of their validation accuracy, those of equal accuracy in
    random order; each stays in the average if the average's validation accuracy does not fall.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        accuracy = material.validation_score
        shuffled = torch.randperm(len(material.raw), generator=generator)
        order = shuffled[accuracy[shuffled].argsort(descending=True, stable=True)]
        total = material.raw[order[0]].double()
        members, best = 1, float(accuracy[order[0]])
        for row in order[1:]:
            candidate = ((total + material.raw[row]) / (members + 1)).float()
            found = float(material.validate(material.normalization.apply(candidate[None]))[0])
            if found >= best:
                total, members, best = total + material.raw[row], members + 1, found
            free_pages(material.raw)
        return _of_raw(material, (total / members).float()[None])

    return Baseline("greedy_soup", build, data=DataUse("labels", "validation"), finishes=True)


def interpolation() -> Baseline:
    """Points drawn uniformly on the lines between pairs of different originals."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        pairs = _pairs(len(material.raw), count, generator)
        return _between(material, pairs, torch.rand(count, 1, generator=generator))

    return Baseline("interpolation", build, min_originals=2, finishes=True)


def interpolation_at(share: float) -> Baseline:
    """Points at a fixed share of the way from one original to another; at 0.5 amid them."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        pairs = _pairs(len(material.raw), count, generator)
        return _between(material, pairs, torch.full((count, 1), share))

    return Baseline(f"interpolation@{share}", build, min_originals=2, finishes=True)


def _pairs(num_originals: int, count: int, generator: torch.Generator) -> Tensor:
    """``[M, 2]`` indices of different originals."""
    draws = [torch.randperm(num_originals, generator=generator)[:2] for _ in range(count)]
    return torch.stack(draws)


def _between(material: Material, pairs: Tensor, share: Tensor) -> Construction:
    """The points at shares ``[M, 1]`` of the ways from one to the other."""
    weights = torch.zeros(len(pairs), len(material.raw))
    weights.scatter_(1, pairs, torch.cat([1 - share, share], dim=1))
    return _of_raw(material, combined(material.raw, weights))


def _of_raw(material: Material, raw: Tensor) -> Construction:
    return Construction(material.normalization.apply(raw), raw=raw)
