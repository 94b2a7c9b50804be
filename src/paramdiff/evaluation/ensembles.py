"""Ensembles: mean class probabilities of M networks, in disjoint groups.

Probabilities are summed in a stream and never kept for all networks. All ensembles of one size are
disjoint, so that their averages use every network once.

Networks that are not sure enough have a bad likelihood that one number mends: each ensemble is
scored as it is and at the temperature that validation data choose for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from paramdiff.evaluation.bootstrap import Bootstrap, percentile_interval
from paramdiff.evaluation.calibration import (
    best_temperature,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    ood_auroc,
    placements,
    reliability,
    tempered,
)
from paramdiff.evaluation.comparison_schema import EnsembleComparison, EnsembleScore

SIZES = (1, 2, 5, 10, 30)


@dataclass(frozen=True)
class Validation:
    """Examples on which temperatures are chosen.

    Attributes:
        probabilities: ``[V, K]`` of each network in turn.
        truth: ``[V]``.
    """

    probabilities: Iterable[Tensor]
    truth: Tensor


@dataclass(frozen=True)
class _Scores:
    """Numbers of one ensemble."""

    ece: float
    brier: float
    ood_auroc: float | None
    temperature: float | None
    ece_calibrated: float | None


@dataclass
class _Running:
    """The ensembles of one size: the sums that are growing, and scores of those that are whole."""

    members: int
    totals: list[Tensor] | None = None
    count: int = 0
    scores: list[_Scores] = field(default_factory=list)
    parts: dict[str, list[Tensor]] = field(default_factory=dict)
    last: Tensor | None = None


@dataclass(frozen=True)
class Ensembles:
    """The ensembles of one group, scored on every example.

    Attributes:
        parts: size to scores of every ensemble ``[ensembles, E]`` whose means are what
            ``EnsembleScore`` tells: ``accuracy``, ``nll``, and where there are data to choose a
            temperature ``nll_calibrated``; where there are foreign inputs ``ood_test`` and
            ``ood_foreign`` ``[ensembles, O]``, see ``placements``.
        summary: size to the scores that are no means over examples.
        reliability: ``[2, bins]`` of the largest ensemble.
    """

    parts: dict[int, dict[str, Tensor]]
    summary: dict[int, dict[str, float | None]]
    reliability: Tensor


def chosen_members(num_networks: int, generator: torch.Generator) -> Tensor:
    """Choose up to 30 networks in random order, as originals come in training order."""
    return torch.randperm(num_networks, generator=generator)[: max(SIZES)]


def form_ensembles(
    probabilities: Iterable[Tensor], truth: Tensor, validation: Validation | None = None
) -> Ensembles:
    """Form the ensembles of one group and score them on every example.

    Args:
        probabilities: ``[E + O, K]`` of each network in turn, test examples first.
        truth: ``[E]``.
        validation: chooses temperatures; None where no data are set apart for it.

    Returns:
        The ensembles of every size for which there are networks enough.
    """
    running = [_Running(members) for members in SIZES]
    for one in _each(probabilities, validation):
        for size in running:
            known = size.totals
            size.totals = (
                one if known is None else [a + b for a, b in zip(known, one, strict=True)]
            )
            size.count += 1
            if size.count == size.members:
                means = [total / size.members for total in size.totals]
                _finish(size, means, truth, None if validation is None else validation.truth)
    filled = [size for size in running if size.scores]
    last = filled[-1].last
    assert last is not None
    return Ensembles(
        parts={
            size.members: {name: torch.stack(each) for name, each in size.parts.items()}
            for size in filled
        },
        summary={size.members: _means(size.scores) for size in filled},
        reliability=reliability(last, truth),
    )


def score_ensembles(
    group: Ensembles, bootstrap: Bootstrap, stream: int
) -> tuple[EnsembleScore, ...]:
    """One entry per size that a group could fill, with intervals.

    Args:
        group: its ensembles.
        bootstrap: shared draws of test examples.
        stream: distinguishes groups, so that their draws of ensembles are independent.

    Returns:
        The scores.
    """
    found = []
    for members, parts in group.parts.items():
        values: dict[str, object] = dict(group.summary[members])
        for name, draws in _draws(parts, bootstrap, stream).items():
            is_share = name in ("accuracy", "ood_auroc")
            values[f"{name}_ci95"] = percentile_interval(draws.clamp(0, 1) if is_share else draws)
        for name in ("accuracy", "nll", "nll_calibrated"):
            values[name] = float(parts[name].mean()) if name in parts else None
        (num,) = {len(each) for each in parts.values()}
        found.append(
            EnsembleScore.model_validate({"members": members, "num_ensembles": num} | values)
        )
    return tuple(found)


def with_equivalents(
    scores: Mapping[str, tuple[EnsembleScore, ...]],
) -> dict[str, tuple[EnsembleScore, ...]]:
    """Add to every ensemble how many originals together are as good.

    Args:
        scores: of every group, ``original`` among them.

    Returns:
        The same with ``equivalent``.
    """
    if "original" not in scores:
        return dict(scores)
    reference = {one.members: _best_nll(one) for one in scores["original"]}
    return {
        name: tuple(
            one.model_copy(update={"equivalent": equivalent_size(_best_nll(one), reference)})
            for one in group
        )
        for name, group in scores.items()
    }


def equivalent_size(nll: float, reference: Mapping[int, float]) -> float | None:
    """Compute how many networks together have a negative log-likelihood.

    Between measured sizes it is interpolated linearly (Ashukha et al. 2020, section 4.3).

    Args:
        nll: of the ensemble in question.
        reference: members to NLL of the ensembles that it is measured by.

    Returns:
        At least 1; None if it is lower than that of the largest.
    """
    sizes: list[int] = []
    for size in sorted(reference):  # those that are better than all smaller ones
        if not sizes or reference[size] < reference[sizes[-1]]:
            sizes.append(size)
    if nll < reference[sizes[-1]]:
        return None
    return float(np.interp(-nll, [-reference[size] for size in sizes], sizes))


def _best_nll(score: EnsembleScore) -> float:
    return score.nll if score.nll_calibrated is None else score.nll_calibrated


def compare_ensembles(
    groups: dict[str, Ensembles], bootstrap: Bootstrap
) -> tuple[EnsembleComparison, ...]:
    """Generated minus every other group at every size, paired on the draws of examples."""
    if "generated" not in groups:
        return ()
    return tuple(
        compare_pair(groups, "generated", name, members, bootstrap)
        for name, other in groups.items()
        if name != "generated"
        for members in groups["generated"].parts
        if members in other.parts
    )


def compare_pair(
    groups: Mapping[str, Ensembles], name: str, reference: str, members: int, bootstrap: Bootstrap
) -> EnsembleComparison:
    """Compare ensembles of two groups, paired on the draws of examples.

    Args:
        groups: the ensembles of every group, in the order of their streams.
        name: of the group whose scores are given minus those of ``reference``.
        reference: of the other group.
        members: networks of an ensemble.
        bootstrap: shared draws of test examples.

    Returns:
        Differences with intervals.
    """
    streams = {name: stream for stream, name in enumerate(groups)}
    own, other = groups[name].parts[members], groups[reference].parts[members]
    mine = _draws(own, bootstrap, streams[name])
    its = _draws(other, bootstrap, streams[reference])
    values: dict[str, object] = {"members": members, "reference": reference}
    for score in mine.keys() & its.keys():
        values[score] = _level(own, score) - _level(other, score)
        values[f"{score}_ci95"] = percentile_interval(mine[score] - its[score])
    return EnsembleComparison.model_validate(values)


def _each(
    probabilities: Iterable[Tensor], validation: Validation | None
) -> Iterator[list[Tensor]]:
    """The probabilities of network after network, of any precision, on any device."""
    if validation is None:
        for one in probabilities:
            yield [one.to("cpu", torch.float32)]
        return
    for one, other in zip(probabilities, validation.probabilities, strict=True):
        yield [one.to("cpu", torch.float32), other.to("cpu", torch.float32)]


def _finish(
    size: _Running, means: list[Tensor], truth: Tensor, validation_truth: Tensor | None
) -> None:
    mean, test = means[0], means[0][: len(truth)]
    parts = {
        "accuracy": (test.argmax(1) == truth).float(),
        "nll": negative_log_likelihood(test, truth),
    }
    auroc = temperature = calibrated = None
    if len(mean) > len(truth):
        auroc = ood_auroc(mean, len(truth))
        parts["ood_test"], parts["ood_foreign"] = placements(mean, len(truth))
    if validation_truth is not None:
        temperature = best_temperature(means[1], validation_truth)
        warmed = tempered(test, temperature)
        parts["nll_calibrated"] = negative_log_likelihood(warmed, truth)
        calibrated = calibration_error(warmed.float(), truth)
    for name, values in parts.items():
        size.parts.setdefault(name, []).append(values)
    size.scores.append(
        _Scores(
            calibration_error(test, truth),
            brier_score(test, truth),
            auroc,
            temperature,
            calibrated,
        )
    )
    size.last, size.totals, size.count = test, None, 0


def _means(scores: list[_Scores]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in vars(scores[0]):
        values = [getattr(one, name) for one in scores]
        found[name] = None if values[0] is None else sum(values) / len(values)
    return found


def _level(parts: dict[str, Tensor], score: str) -> float:
    name = "ood_test" if score == "ood_auroc" else score
    return float(parts[name].mean(dtype=torch.float64))


def _draws(parts: dict[str, Tensor], bootstrap: Bootstrap, stream: int) -> dict[str, Tensor]:
    """Resampled means ``[draws]`` of every score that is one over examples."""
    found: dict[str, Tensor] = {
        name: bootstrap.means(parts[name], stream)
        for name in ("accuracy", "nll", "nll_calibrated")
        if name in parts
    }
    if "ood_foreign" in parts:
        # to first order the area is its mean and what each sample of inputs adds to it
        foreign = bootstrap.of_others(parts["ood_foreign"].shape[1])
        beyond = parts["ood_foreign"] - parts["ood_foreign"].mean(1, keepdim=True)
        found["ood_auroc"] = bootstrap.means(parts["ood_test"], stream) + foreign.means(
            beyond, stream
        )
    return found
