"""What networks are worth together: mean class probabilities of M of them, disjointly grouped.

Probabilities are summed in a stream and never kept for all networks. All ensembles of one size are
disjoint, so that their averages use every network once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paramdiff.evaluation.calibration import (
    brier_score,
    calibration_error,
    negative_log_likelihood,
    ood_auroc,
    reliability,
)
from paramdiff.evaluation.intervals import Bootstrap, percentile_interval
from paramdiff.evaluation.rivals import ORIGINALS
from paramdiff.evaluation.schema import EnsembleComparison, EnsembleScore

SIZES = (1, 2, 5, 10, 30)
MEMBERS = ("generated", "original", "swag@1.0", "average@all", ORIGINALS)
"""The groups whose ensembles are scored."""


@dataclass
class _Running:
    """The ensembles of one size: the sum that is growing, and scores of those that are whole."""

    members: int
    total: Tensor | None = None
    count: int = 0
    scores: list[tuple[float, float, float, float | None]] = field(default_factory=list)
    correct: list[Tensor] = field(default_factory=list)
    nll: list[Tensor] = field(default_factory=list)
    last: Tensor | None = None


@dataclass(frozen=True)
class Ensembles:
    """The scored ensembles of one group.

    Attributes:
        scores: one entry per size that the group could fill.
        correct: size to the mean over ensembles of each test example's correctness ``[E]``.
        nll: size to the same of each test example's negative log-likelihood ``[E]``.
        reliability: ``[2, bins]`` of the largest ensemble.
    """

    scores: tuple[EnsembleScore, ...]
    correct: dict[int, Tensor]
    nll: dict[int, Tensor]
    reliability: Tensor


def chosen_members(num_networks: int, generator: torch.Generator) -> Tensor:
    """Which networks take part: up to 30, in random order, as originals come in training order."""
    return torch.randperm(num_networks, generator=generator)[: max(SIZES)]


def score_ensembles(probabilities: Iterable[Tensor], truth: Tensor) -> Ensembles:
    """Form and score the ensembles of one group.

    Args:
        probabilities: ``[E + O, K]`` of each network in turn, test examples first.
        truth: ``[E]``.

    Returns:
        The ensembles of every size for which there are networks enough.
    """
    running = [_Running(members) for members in SIZES]
    for computed in probabilities:
        one = computed.to("cpu", torch.float32)  # of a network of any precision, on any device
        for size in running:
            size.total = one if size.total is None else size.total + one
            size.count += 1
            if size.count == size.members:
                _finish(size, size.total / size.members, truth)
    filled = [size for size in running if size.scores]
    last = filled[-1].last
    assert last is not None
    return Ensembles(
        scores=tuple(_summary(size) for size in filled),
        correct={size.members: torch.stack(size.correct).mean(0) for size in filled},
        nll={size.members: torch.stack(size.nll).mean(0) for size in filled},
        reliability=reliability(last, truth),
    )


def compare_ensembles(
    groups: dict[str, Ensembles], bootstrap: Bootstrap
) -> tuple[EnsembleComparison, ...]:
    """Generated minus every other group at every size, with intervals over test examples."""
    if "generated" not in groups:
        return ()
    own = groups["generated"]
    found = []
    for name, other in groups.items():
        for members in own.correct if name != "generated" else ():
            if members not in other.correct:
                continue
            correct = own.correct[members] - other.correct[members]
            nll = own.nll[members] - other.nll[members]
            found.append(
                EnsembleComparison(
                    members=members,
                    reference=name,
                    accuracy=float(correct.mean()),
                    accuracy_ci95=percentile_interval(bootstrap.of_examples(correct)),
                    nll=float(nll.mean()),
                    nll_ci95=percentile_interval(bootstrap.of_examples(nll)),
                )
            )
    return tuple(found)


def _finish(size: _Running, mean: Tensor, truth: Tensor) -> None:
    test = mean[: len(truth)]
    size.correct.append((test.argmax(1) == truth).float())
    size.nll.append(negative_log_likelihood(test, truth))
    auroc = ood_auroc(mean, len(truth)) if len(mean) > len(truth) else None
    size.scores.append(
        (
            float(size.correct[-1].mean()),
            calibration_error(test, truth),
            brier_score(test, truth),
            auroc,
        )
    )
    size.last, size.total, size.count = test, None, 0


def _summary(size: _Running) -> EnsembleScore:
    accuracy, ece, brier, auroc = zip(*size.scores, strict=True)
    return EnsembleScore(
        members=size.members,
        num_ensembles=len(size.scores),
        accuracy=sum(accuracy) / len(accuracy),
        nll=float(torch.stack(size.nll).mean()),
        ece=sum(ece) / len(ece),
        brier=sum(brier) / len(brier),
        ood_auroc=None if auroc[0] is None else sum(auroc) / len(auroc),
    )
