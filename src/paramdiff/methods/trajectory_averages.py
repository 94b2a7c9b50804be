"""Averages along a training run: one network for each run, of raw values.

All weights lie between 0 and 1, so that running variances stay positive.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from paramdiff.methods.averages import GREEN, of_raw
from paramdiff.methods.combinations import (
    DECAYS,
    combined,
    decay_weights,
    ema_weights,
    power_weights,
)
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

DECAYED_SHARE = 0.5
"""Share of a run's checkpoints, at its end, during which the learning rate would decay."""


def sample_run_averages(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Average all originals of each run."""
    return _of_each_run(context, draws, lambda rows: torch.full((len(rows),), 1 / len(rows)))


def sample_last(context: MethodContext, draws: Draws, members: int) -> Samples:
    """Average the last ``members`` originals of each run."""

    def weights(rows: Tensor) -> Tensor:
        found = torch.zeros(len(rows))
        found[-int(members) :] = 1 / min(int(members), len(rows))
        return found

    return _of_each_run(context, draws, weights)


def sample_ema(context: MethodContext, draws: Draws, decay: float) -> Samples:
    """Average each run exponentially, with a decay per checkpoint."""
    return _of_each_run(context, draws, lambda rows: ema_weights(len(rows), decay))


def sample_power_ema(context: MethodContext, draws: Draws, width: float) -> Samples:
    """Average each run by a power-function window over its training steps."""
    steps = context.steps
    assert steps is not None
    return _of_each_run(context, draws, lambda rows: power_weights(steps[rows], width))


def sample_decayed(context: MethodContext, draws: Draws, shape: str) -> Samples:
    """Average the last half of each run as a decay of its learning rate would."""

    def weights(rows: Tensor) -> Tensor:
        num = max(2, round(DECAYED_SHARE * len(rows)))
        return torch.cat([torch.zeros(len(rows) - num), decay_weights(num, shape)])

    return _of_each_run(context, draws, weights)


def _of_each_run(
    context: MethodContext, draws: Draws, weights: Callable[[Tensor], Tensor]
) -> Samples:
    """Combine the originals ``[n]`` of each run with weights ``[n]``."""
    runs = context.trajectories
    numbers = draws.first(len(runs)).numbers.tolist()
    shares = torch.zeros(len(numbers), len(context.raw), dtype=torch.float64)
    for share, number in zip(shares, numbers, strict=True):
        share[runs[number]] = weights(runs[number]).double()
    return of_raw(context, combined(context.raw, shares))


RUN_AVERAGE = Method(
    "run_average",
    label="Average of each run",
    phrase="the average of each run's checkpoints",
    reference="Stochastic weight averaging: Izmailov et al. 2018 (arXiv 1803.05407)",
    style=Style(GREEN, "s"),
    sample=sample_run_averages,
    needs=frozenset({"trajectories"}),
    finish="batchnorm",
    counts_each_run=True,
)
LAST = Method(
    "last",
    label="Average of the last originals",
    label_at="Average of the last {} originals",
    phrase="the average of the last checkpoints",
    phrase_at="the average of the last {} checkpoints",
    reference="Latest weight averaging: Kaddour 2022 (arXiv 2209.14981)",
    style=Style(GREEN, ">"),
    sample=sample_last,
    strengths=Strengths((5, 10)),
    needs=frozenset({"order"}),
    min_originals=None,
    counts_each_run=True,
    finish="batchnorm",
)
EMA = Method(
    "ema",
    label="Moving average",
    label_at="Moving average, decay {}",
    phrase="an exponential moving average of the checkpoints",
    phrase_at="an exponential moving average of the checkpoints with decay {}",
    short_phrase="a moving average of the checkpoints",
    reference="Polyak and Juditsky 1992, with exponential weights; a decay per checkpoint, as "
    "torch.optim.swa_utils.get_ema_multi_avg_fn",
    style=Style(GREEN, "D"),
    sample=sample_ema,
    strengths=Strengths((0.8, 0.9, 0.95), bounds=(0.0, 0.9999)),
    needs=frozenset({"order"}),
    min_originals=2,
    counts_each_run=True,
    finish="batchnorm",
)
POWER_EMA = Method(
    "power_ema",
    label="Power-function average",
    label_at="Power-function average, width {}",
    phrase="a power-function average of the checkpoints",
    phrase_at="a power-function average of the checkpoints with relative width {}",
    short_phrase="a power-function average of the checkpoints",
    reference="Post-hoc EMA: Karras et al. 2024 (arXiv 2312.02696), here of saved checkpoints; "
    "the relative width is the paper's sigma_rel",
    style=Style(GREEN, "d"),
    sample=sample_power_ema,
    strengths=Strengths((0.05, 0.1, 0.2), bounds=(0.001, 0.28)),
    needs=frozenset({"order"}),
    min_originals=2,
    counts_each_run=True,
    finish="batchnorm",
)
DECAYED = Method(
    "decayed",
    label="Decay-equivalent average",
    label_at="Decay-equivalent average, {}",
    phrase="the average of the last half of the checkpoints that equals a learning-rate decay",
    short_phrase="a decay-equivalent average",
    reference="Warmup-stable and merge: Tian et al. 2025 (arXiv 2507.17634), of the last half of "
    "the checkpoints",
    style=Style(GREEN, "v"),
    sample=sample_decayed,
    strengths=Strengths(tuple(DECAYS)),
    needs=frozenset({"order"}),
    min_originals=2,
    counts_each_run=True,
    finish="batchnorm",
)
