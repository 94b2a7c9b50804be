"""Controllability: requested condition values against the scores of the networks generated."""

import warnings

import torch
from scipy.stats import spearmanr
from torch import Tensor

from paramdiff.diffusion.conditioning import NumberCondition
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.further_schema import Controllability, ControllabilityLevel
from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.evaluation.predictor import Predictor
from paramdiff.parameters.normalization import fit_for_comparison
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.zoo.zoo import Zoo

NUM_NETWORKS = 20
"""Networks at each value, with the same seeds at all values."""
BEYOND = 0.25
"""Part of the zoo's range by which requested values exceed it on either side."""


def measure_controllability(
    pipeline: ParameterDiffusionPipeline,
    predictor: Predictor,
    zoo: Zoo,
    *,
    num_levels: int,
    first_seed: int,
) -> dict[str, Controllability]:
    """Generate at several values of each numeric condition, the others left open.

    Args:
        pipeline: conditional, with its own number of steps and guidance scale.
        predictor: scores networks.
        zoo: to whose dispersion the networks' is relative.
        num_levels: number of requested values, evenly spaced inside the zoo's range and beyond it.
        first_seed: of the networks.

    Returns:
        Condition to the scores achieved. A value for which some network computes NaN or infinite
        values is left out.
    """
    normalization = fit_for_comparison(zoo.originals, zoo.layout)
    originals = normalization.apply(zoo.originals)
    seeds = range(first_seed, first_seed + NUM_NETWORKS)

    def at_value(name: str, value: float) -> tuple[ControllabilityLevel, Tensor]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "condition .* extrapolates")  # on purpose
            vectors = pipeline(seeds, condition={name: value}).vectors
        predictions = predictor.predict(vectors)
        scores = predictions.test.double().mean(1)
        level = ControllabilityLevel(
            requested=value,
            validation=float(predictions.validation.double().mean()),
            score=float(scores.mean()),
            std=float(scores.std()),
            dispersion=dispersion(normalization.apply(vectors), originals),
        )
        return level, scores

    achieved = {}
    for condition in pipeline.conditions.known if num_levels else ():
        if not isinstance(condition, NumberCondition):
            continue
        found = []
        for value in _levels(condition, num_levels):
            try:
                found.append(at_value(condition.name, value))
            except NotFiniteError:
                continue
        if found:
            achieved[condition.name] = Controllability(
                n=NUM_NETWORKS,
                low=condition.low,
                high=condition.high,
                guidance_scale=pipeline.config.guidance_scale,
                rank_correlation=_rank_correlation(found),
                levels=tuple(level for level, _ in found),
            )
    return achieved


def _levels(condition: NumberCondition, num_levels: int) -> list[float]:
    beyond = BEYOND * (condition.high - condition.low)
    return torch.linspace(
        condition.low - beyond, condition.high + beyond, num_levels, dtype=torch.float64
    ).tolist()


def _rank_correlation(found: list[tuple[ControllabilityLevel, Tensor]]) -> float | None:
    """Correlate requested values with the test scores of all networks; None if one is constant."""
    requested = torch.tensor([level.requested for level, _ in found]).repeat_interleave(
        NUM_NETWORKS
    )
    scores = torch.cat([scores for _, scores in found])
    if len(requested.unique()) < 2 or len(scores.unique()) < 2:
        return None
    return float(spearmanr(requested.numpy(), scores.numpy()).statistic)
