"""Weight averages: of all originals, of k drawn ones, of the k best, and a greedy soup.

Averages are taken of raw values, running variances included, as the paper's ensemble does. All are
combinations with shares between 0 and 1, so that variances stay positive.
"""

import torch
from torch import Tensor

from paramdiff.memmap import column_moments, free_pages
from paramdiff.methods.combinations import combined
from paramdiff.methods.data_use import DataUse
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strength, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

GREEN = "#009e73"


def sample_averages(context: MethodContext, draws: Draws, members: Strength) -> Samples:
    """Average all originals (once), or ``members`` different ones, drawn anew for each network."""
    if isinstance(members, str):
        return of_raw(context, column_moments(context.raw)[0].float()[None])
    num = len(context.raw)
    shares = torch.zeros(len(draws), num)
    shares.scatter_(1, draws.subsets(num, int(members)), 1 / members)
    return of_raw(context, combined(context.raw, shares))


def sample_greedy_soup(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Make one network, chosen on validation data.

    Originals are tried in the order of their validation score, those of equal score in random
    order; each stays in the average if the average's validation score does not fall.
    """
    score, validate = context.validation_score, context.validate
    assert score is not None and validate is not None
    order = best_first(score, draws)
    total = context.raw[order[0]].double()
    members, best = 1, float(score[order[0]])
    for row in order[1:]:
        candidate = ((total + context.raw[row]) / (members + 1)).float()
        found = float(validate(context.normalization.apply(candidate[None]))[0])
        if found >= best:
            total, members, best = total + context.raw[row], members + 1, found
        free_pages(context.raw)
    return of_raw(context, (total / members).float()[None])


def sample_top(context: MethodContext, draws: Draws, members: int) -> Samples:
    """Average the ``members`` originals with the best validation scores."""
    assert context.validation_score is not None
    best = best_first(context.validation_score, draws)[: int(members)]
    shares = torch.zeros(1, len(context.raw)).index_fill_(1, best, 1 / len(best))
    return of_raw(context, combined(context.raw, shares))


def best_first(score: Tensor, draws: Draws) -> Tensor:
    """Order originals by their validation score.

    Args:
        score: ``[N]``.
        draws: of the group; those of equal score are in random order.

    Returns:
        Rows ``[N]``, the best first.
    """
    shuffled = torch.randperm(len(score), generator=draws.of_group("equal scores"))
    return shuffled[score[shuffled].argsort(descending=True, stable=True)]


def of_raw(context: MethodContext, raw: Tensor) -> Samples:
    """Return samples of raw vectors ``[M, P]``."""
    return Samples(context.normalization.apply(raw), raw=raw)


AVERAGE = Method(
    "average",
    label="Average of originals",
    label_at="Average of {} originals",
    phrase="the average of all checkpoints",
    phrase_at="averages of {} checkpoints",
    reference="Of all: the uniform soup of Wortsman et al. 2022 (arXiv 2203.05482), and the "
    "ensemble of Wang et al. 2024 (arXiv 2402.13144). Of 16: Zeng et al. 2025 (arXiv 2506.07998)",
    style=Style(GREEN, "^"),
    sample=sample_averages,
    strengths=Strengths(("all", 2, 4, 8, 16, 64)),
    min_originals=None,
    finish="batchnorm",
    parts={"ensembles": ("all",), "fine-tuning curves": ("all",), "recalibration": (16,)},
)
TOP = Method(
    "top",
    label="Average of the best originals",
    label_at="Average of the best {} originals",
    phrase="the average of the checkpoints with the best validation scores",
    phrase_at="the average of the {} checkpoints with the best validation scores",
    reference="As avg_checkpoints.py of timm (Wightman 2020)",
    style=Style(GREEN, "p"),
    sample=sample_top,
    strengths=Strengths((5, 10)),
    needs=frozenset({"validation labels"}),
    min_originals=None,
    data_used=DataUse("labels", "validation"),
    finish="batchnorm",
)
GREEDY_SOUP = Method(
    "greedy_soup",
    label="Greedy soup",
    phrase="a greedy soup of the checkpoints",
    reference="Wortsman et al. 2022 (arXiv 2203.05482), recipe 1",
    style=Style(GREEN, "P"),
    sample=sample_greedy_soup,
    needs=frozenset({"validation labels"}),
    data_used=DataUse("labels", "validation"),
    finish="batchnorm",
)
