"""SWAG: a Gaussian about the mean of a training run, half diagonal and half low-rank."""

import torch
from torch import Tensor

from paramdiff.memmap import column_blocks
from paramdiff.methods.draws import Draws
from paramdiff.methods.gaussians import SCALES
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

RANK = 20
BLUE = "#3a8fc0"


def sample_swag(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Draw from the SWAG posterior of all originals, taken as one run.

    The low-rank half is spanned by the deviations of the last 20 originals from the running mean.
    ``scale`` multiplies standard deviations, as for ``gaussian``.
    """
    one = [torch.arange(len(context.originals))]
    return Samples(_sampled(context.originals, one, draws, scale))


def sample_multiswag(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Draw from the SWAG posterior of each training run in turn.

    Needs ``has_several_trajectories``: between runs there is no network worth having.
    """
    return Samples(_sampled(context.originals, context.trajectories, draws, scale))


def _sampled(originals: Tensor, trajectories: list[Tensor], draws: Draws, scale: float) -> Tensor:
    """Draw ``[M, P]``, from the rows ``[n]`` of one trajectory after the other."""
    vectors, weights = draws.normal(originals.shape[1]), draws.normal(RANK)
    turn = draws.numbers % len(trajectories)
    for columns in column_blocks(originals):
        for number, rows in enumerate(trajectories):
            drawn = (turn == number).nonzero()[:, 0]
            values = originals[rows, columns].double()
            numbers = torch.arange(1, len(rows) + 1)[:, None]
            from_running_mean = (values - values.cumsum(0) / numbers)[-RANK:].float()
            rank = len(from_running_mean)
            diagonal = values.std(0, correction=0).float() * vectors[drawn, columns]
            low_rank = weights[drawn, :rank] @ from_running_mean / (rank - 1) ** 0.5
            deviation = scale * (diagonal + low_rank) / 2**0.5
            vectors[drawn, columns] = values.mean(0).float() + deviation
    return vectors


SWAG = Method(
    "swag",
    label="Low-rank SWAG",
    label_at="Low-rank SWAG, scale {}",
    phrase="SWAG samples",
    phrase_at="SWAG samples at scale {}",
    short_phrase="SWAG samples",
    reference="Maddox et al. 2019 (arXiv 1902.02476), equation 1",
    style=Style(BLUE, "s"),
    sample=sample_swag,
    strengths=Strengths((0.5, 1.0), (0.01, 5.0), SCALES),
    min_originals=2,
    finish="batchnorm",
    parts={"ensembles": (1.0,)},
)
MULTISWAG = Method(
    "multiswag",
    label="SWAG of each run",
    label_at="SWAG of each run, scale {}",
    phrase="SWAG samples of each run",
    phrase_at="SWAG samples of each run at scale {}",
    short_phrase="SWAG samples of each run",
    reference="MultiSWAG: Wilson and Izmailov 2020 (arXiv 2002.08791)",
    style=Style(BLUE, "D"),
    sample=sample_multiswag,
    strengths=Strengths((0.5, 1.0, 1.5), (0.01, 5.0), SCALES),
    needs=frozenset({"trajectories"}),
    finish="batchnorm",
    parts={"ensembles": (1.0,)},
)
