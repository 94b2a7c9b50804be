"""Weight averages: of all originals, of k, a greedy soup, and points between two."""

import torch

from paramdiff.evaluation.baselines.construction import Baseline, Construction, Material
from paramdiff.evaluation.data_use import DataUse
from paramdiff.mapped import column_blocks, column_moments, release


def average_all() -> Baseline:
    """The mean of all originals (the paper's "ensemble"; a uniform soup, Wortsman et al. 2022)."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        return Construction(column_moments(material.originals)[0].float()[None])

    return Baseline("average@all", build)


def average(members: int) -> Baseline:
    """Means of ``members`` different originals, drawn anew for each (Zeng et al. use 16)."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        originals = material.originals
        draws = [torch.randperm(len(originals), generator=generator) for _ in range(count)]
        shares = torch.zeros(count, len(originals))
        shares.scatter_(1, torch.stack(draws)[:, :members], 1 / members)
        vectors = torch.empty(count, originals.shape[1])
        for columns in column_blocks(originals):
            vectors[:, columns] = shares @ originals[:, columns]
        return Construction(vectors)

    return Baseline(f"average@{members}", build, min_originals=members)


def greedy_soup() -> Baseline:
    """The greedy soup (Wortsman et al. 2022, recipe 1): one network, chosen on validation data.

    Originals are tried in the order of their validation accuracy; each stays in the average if the
    average's validation accuracy does not fall.
    """

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        order = material.validation_accuracy.argsort(descending=True, stable=True)
        total = material.originals[order[0]].clone()
        members, best = 1, float(material.validation_accuracy[order[0]])
        for row in order[1:]:
            candidate = (total + material.originals[row]) / (members + 1)
            accuracy = float(material.validate(candidate[None])[0])
            if accuracy >= best:
                total, members, best = total + material.originals[row], members + 1, accuracy
            release(material.originals)
        return Construction((total / members)[None])

    return Baseline("greedy_soup", build, data=DataUse("labels", "validation"))


def interpolation() -> Baseline:
    """Points drawn uniformly on the lines between pairs of different originals."""

    def build(material: Material, count: int, generator: torch.Generator) -> Construction:
        originals = material.originals
        draws = [torch.randperm(len(originals), generator=generator)[:2] for _ in range(count)]
        one, other = torch.stack(draws).T
        share = torch.rand(count, 1, generator=generator)
        return Construction(originals[one] + share * (originals[other] - originals[one]))

    return Baseline("interpolation", build, min_originals=2)
