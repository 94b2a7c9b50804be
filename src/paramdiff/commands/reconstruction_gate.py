"""The gate between codec and denoiser: a codec must tell checkpoints apart.

Of parameters: the explained variance, from the average of all checkpoints (0) to perfect (1). Of
independent noise, a codec of ``L`` numbers explains no more than the ``L`` parameters that vary
most do by themselves, so only what is beyond that counts. Of answers: reconstructions may not
differ from their sources by much more than checkpoints differ from each other. The figures behind
the limits: docs/results/reconstruction.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.codecs.base import Codec, decode_all, encode_all
from paramdiff.codecs.codec_settings import Statistics
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.predictor import Predictor
from paramdiff.memmap import column_moments
from paramdiff.parameters.space import ParameterSpace
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.predictors import build_predictor
from paramdiff.subsampling import evenly_spaced
from paramdiff.tasks.base import Task
from paramdiff.zoo.zoo import Zoo

LEAST_EXPLAINED = 0.3
"""Share of the variance that as many single parameters leave: working zoos reach 0.65, noise 0."""
COMPLETE = 0.99
"""Share that is enough, even if parameters are independent."""
MOST_UNLIKE = 2.0
"""Most difference of predictions, in units of that between two checkpoints."""
NEGLIGIBLE = 0.01
"""Share of examples, or of the score, by which predictions may always differ."""
MOST_COMPARED = 20
MOST_COMPARED_VALUES = 1 << 26
"""Values of all reconstructed checkpoints together, so that they fit into memory."""


@dataclass(frozen=True)
class ReconstructionGate:
    """Stops a run whose codec cannot tell its checkpoints apart.

    Attributes:
        task: returns the task of a complete state dict, whose predictions decide; None if
            parameters decide.
        device: device on which networks predict.
        is_binding: raise an error if too little is found, rather than report it.
    """

    task: Callable[[Mapping[str, Tensor]], Task] | None = None
    device: str = "auto"
    is_binding: bool = True

    def __call__(
        self, recipe: Recipe, zoo: Zoo, space: ParameterSpace, codec: Codec, vectors: Tensor
    ) -> str:
        """Check a codec.

        Args:
            recipe: the run's.
            zoo: its held-out checkpoints are reconstructed; where there are none, those that the
                codec learned from.
            space: the run's normalization.
            codec: the run's.
            vectors: the originals' normalized vectors ``[N, length]``.

        Returns:
            One line on what was found.

        Raises:
            UserError: too little was found.
        """
        is_new = len(zoo.held_out) > 1  # one alone has no other to be compared with
        whose = "held-out checkpoints" if is_new else "the checkpoints it learned from"
        sources = _some(zoo.held_out) if is_new else _some(vectors)
        sources = space.normalize(sources) if is_new else sources
        if self.task is None:
            average, variances = column_moments(vectors)
            found = explained_variance(
                codec, sources, average.float(), recipe.codec.decoding_statistics
            )
            single = explained_by_single_parameters(codec, vectors, variances)
            least = min(single + LEAST_EXPLAINED * (1 - single), COMPLETE)
            told = (
                f"{found:.1%} of the variance of {whose} explained, at least {least:.1%} expected"
            )
            is_enough = found >= least
        else:
            differ, between, most = answers_apart(
                build_predictor(self.task(zoo.base), zoo, resolve_device(self.device)),
                space,
                codec,
                sources,
                recipe.codec.decoding_statistics,
            )
            told = (
                f"reconstructions of {whose} answer {differ:.3g} apart from their sources, two "
                f"checkpoints {between:.3g} apart, at most {most:.3g} expected"
            )
            is_enough = differ <= most
        if not is_enough and self.is_binding:
            raise UserError(
                f"codec: {told}: generated networks would be little but noise around the average; "
                f"try more checkpoints{_wider(recipe)}, or go on with --force"
            )
        return told


def explained_variance(
    codec: Codec, sources: Tensor, average: Tensor, statistics: Statistics
) -> float:
    """Compute the share of variance that reconstructions explain, beside an average.

    Args:
        codec: reconstructs the vectors.
        sources: normalized vectors ``[M, length]``.
        average: ``[length]``.
        statistics: see ``Codec.decode``.

    Returns:
        1 for perfect reconstructions, 0 for the average; 1 where all sources are the average.
    """
    left = float((decode_all(codec, encode_all(codec, sources), statistics) - sources).norm())
    total = float((sources - average).norm())
    return 1 - (left / total) ** 2 if total else 1.0


def _some(vectors: Tensor) -> Tensor:
    """Return evenly spaced rows: at least two, and fewer of long vectors."""
    fitting = max(2, min(MOST_COMPARED, MOST_COMPARED_VALUES // vectors.shape[1]))
    rows = evenly_spaced(len(vectors), fitting)
    return vectors[rows]


def explained_by_single_parameters(codec: Codec, vectors: Tensor, variances: Tensor) -> float:
    """Compute the share of variance that as many single parameters would explain.

    Args:
        codec: whose latents are counted: the directions that hold 99 % of their variance.
        vectors: normalized vectors ``[N, length]`` that the codec learned from.
        variances: of their columns, ``[length]``.

    Returns:
        A share of their variance.
    """
    latents = encode_all(codec, vectors)
    spread = torch.linalg.svdvals((latents - latents.mean(0)).double()).square().cumsum(0)
    count = int((spread < 0.99 * spread[-1]).sum()) + 1
    total = float(variances.sum())
    most = variances.sort(descending=True).values[:count]
    return float(most.sum()) / total if total else 0.0


def answers_apart(
    predictor: Predictor,
    space: ParameterSpace,
    codec: Codec,
    sources: Tensor,
    statistics: Statistics,
) -> tuple[float, float, float]:
    """Compute how far predictions of reconstructions lie from those of their sources.

    Args:
        predictor: answers; validation scores are compared.
        space: the run's normalization.
        codec: reconstructs the vectors.
        sources: normalized vectors ``[M, length]``.
        statistics: see ``Codec.decode``.

    Returns:
        Mean absolute differences (of examples, the share with another answer): of reconstructions
        from their sources, of two sources from each other, and the most that the first may be.
    """
    found = decode_all(codec, encode_all(codec, sources), statistics)
    scores = predictor.predict(space.denormalize(torch.cat([sources, found]))).validation.double()
    own, reconstructed = scores.chunk(2)
    differ = float((own - reconstructed).abs().mean())
    between = float(torch.pdist(own, p=1).mean()) / own.shape[1] if len(own) > 1 else 0.0
    unit = 1.0 if predictor.is_fraction else float(own.abs().mean())
    return differ, between, max(MOST_UNLIKE * between, NEGLIGIBLE * unit)


def _wider(recipe: Recipe) -> str:
    """Continue the advice with a codec that keeps more, if there is one."""
    suggestion = recipe.codec.suggest_wider()
    return "" if suggestion is None else f" or {suggestion}"
