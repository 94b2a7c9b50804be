"""Points between the network that training started from and the average of the originals."""

import torch
from torch import Tensor

from paramdiff.memmap import column_moments
from paramdiff.methods.averages import of_raw
from paramdiff.methods.combinations import products, stock_ratio
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

SKY = "#56b4e9"


def sample_wise_ft(context: MethodContext, draws: Draws, share: float) -> Samples:
    """Go ``share`` of the way from the base to the average, in raw values."""
    base, mean = _ends(context)
    return of_raw(context, torch.lerp(base, mean, share)[None])


def sample_task_arithmetic(context: MethodContext, draws: Draws, scale: float) -> Samples:
    """Add ``scale`` times the mean task vector to the base.

    Beyond the average, running variances are extrapolated by their logarithms, as they are
    normalized, and stay positive.
    """
    base, mean = (context.normalization.apply(end[None]) for end in _ends(context))
    return Samples(torch.lerp(base, mean, scale))


def sample_model_stock(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Go from the base towards the average by a ratio of each tensor's own.

    The ratio follows from the mean cosine between the task vectors of two originals: where these
    have nothing in common (or less), the base stays.
    """
    base, mean = _ends(context)
    vector = torch.empty_like(mean)
    for slot in context.layout.slots:
        place = slice(slot.start, slot.stop)
        ratio = stock_ratio(products(context.raw[:, place], base[place]))
        vector[place] = torch.lerp(base[place], mean[place], ratio)
    return of_raw(context, vector[None])


def _ends(context: MethodContext) -> tuple[Tensor, Tensor]:
    """Return the raw vectors ``[P]`` of the base and of the average."""
    assert context.base is not None
    return context.base.float(), column_moments(context.raw)[0].float()


WISE_FT = Method(
    "wise_ft",
    label="Base towards average",
    label_at="Base towards average, share {}",
    phrase="a point between the base network and the checkpoints' average",
    phrase_at="the point {} of the way from the base network to the checkpoints' average",
    reference="WiSE-FT: Wortsman et al. 2022 (arXiv 2109.01903)",
    style=Style(SKY, "<"),
    sample=sample_wise_ft,
    strengths=Strengths(
        (0.5,), chosen=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), bounds=(0.0, 1.0)
    ),
    needs=frozenset({"base"}),
    finish="batchnorm",
)
TASK_ARITHMETIC = Method(
    "task_arithmetic",
    label="Task arithmetic",
    label_at="Task arithmetic, scale {}",
    phrase="the base network and a multiple of the mean task vector",
    phrase_at="the base network and {} times the mean task vector",
    reference="Ilharco et al. 2023 (arXiv 2212.04089), with the mean of the task vectors",
    style=Style(SKY, "P"),
    sample=sample_task_arithmetic,
    strengths=Strengths((1.5,), chosen=(0.5, 0.75, 1.0, 1.25, 1.5, 2.0)),
    needs=frozenset({"base"}),
    finish="batchnorm",
)
MODEL_STOCK = Method(
    "model_stock",
    label="Model stock",
    phrase="a model stock of the checkpoints",
    reference="Jang et al. 2024 (arXiv 2403.19522), with a ratio per tensor",
    style=Style(SKY, "p"),
    sample=sample_model_stock,
    needs=frozenset({"base"}),
    min_originals=2,
    finish="batchnorm",
)
