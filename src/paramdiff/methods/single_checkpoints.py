"""Checkpoints as they are: the last of each run, and the best on validation data.

They need nothing made, so whatever is made is compared with them.
"""

import torch
from torch import Tensor

from paramdiff.methods.averages import best_first
from paramdiff.methods.data_use import DataUse
from paramdiff.methods.draws import Draws
from paramdiff.methods.given import ORIGINAL
from paramdiff.methods.method import Method, Style
from paramdiff.methods.method_context import MethodContext, Samples


def sample_last_checkpoint(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Take the last original of each run."""
    runs = context.trajectories
    rows = [int(runs[number][-1]) for number in draws.first(len(runs)).numbers.tolist()]
    return _taken(context, torch.tensor(rows, dtype=torch.long))


def sample_best_checkpoint(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Take the original with the best validation score."""
    assert context.validation_score is not None
    return _taken(context, best_first(context.validation_score, draws)[:1])


def _taken(context: MethodContext, rows: Tensor) -> Samples:
    return Samples(context.originals[rows].clone(), rows, context.raw[rows].clone())


LAST_CHECKPOINT = Method(
    "last_checkpoint",
    label="Last checkpoint",
    phrase="the last checkpoint",
    reference="Training as it ended",
    style=Style(ORIGINAL.style.color, ">"),
    sample=sample_last_checkpoint,
    needs=frozenset({"order"}),
    min_originals=2,
    counts_each_run=True,
    finish="batchnorm",
    works_on_products=False,
)
BEST_CHECKPOINT = Method(
    "best_checkpoint",
    label="Best checkpoint on validation data",
    phrase="the checkpoint with the best validation score",
    reference="Early stopping",
    style=Style(ORIGINAL.style.color, "*"),
    sample=sample_best_checkpoint,
    needs=frozenset({"validation labels"}),
    works_on_products=False,
    data_used=DataUse("labels", "validation"),
    finish="batchnorm",
)
