"""Diversity of a group in parameter space.

All vectors here are normalized per tensor whatever the codec uses, so that no tensor counts more
because its values are larger.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from paramdiff.evaluation.metrics.base import Column, Metric
from paramdiff.memmap import centered_products, column_blocks, column_moments
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.subsampling import evenly_spaced

if TYPE_CHECKING:
    from paramdiff.evaluation.reference_set import ReferenceSet

LOWEST_DISPERSION, HIGHEST_DISPERSION = 0.8, 1.25
"""Outside of these, a warning says that generated networks are not as varied as the originals."""
NUM_COMPONENTS = 10
"""Principal components along which dispersion is given one by one."""


def total_variance(vectors: Tensor) -> float:
    """Sum over coordinates the unbiased variance over a group ``[M, P]``, maybe mapped."""
    return float(column_moments(vectors)[1].sum())


def dispersion(vectors: Tensor, originals: Tensor) -> float | None:
    """Compute the square root of the total variance relative to the originals'.

    Args:
        vectors: ``[M, P]``.
        originals: ``[N, P]``.

    Returns:
        1 for the originals themselves, 0 for copies of one vector; None where either group has
        fewer than two members or the originals are all equal.
    """
    if len(vectors) < 2 or len(originals) < 2:
        return None
    return relative_dispersion(vectors, total_variance(originals))


def relative_dispersion(vectors: Tensor, reference: float) -> float | None:
    """Compute ``dispersion`` of a group ``[M, P]`` if the originals' total variance is known."""
    return _relative(total_variance(vectors), reference)


def _relative(variance: float, reference: float) -> float | None:
    return (variance / reference) ** 0.5 if reference > 0 else None


def dispersion_per_tensor(
    vectors: Tensor, originals: Tensor, layout: ParameterLayout
) -> dict[str, float | None]:
    """Compute ``dispersion`` of each tensor by itself."""
    if len(vectors) < 2 or len(originals) < 2:
        return dict.fromkeys(layout.names)
    own, reference = (column_moments(group)[1] for group in (vectors, originals))
    return {
        slot.name: _relative(
            *(float(one[slot.start : slot.stop].sum()) for one in (own, reference))
        )
        for slot in layout.slots
    }


def principal_components(originals: Tensor) -> Tensor:
    """Return the directions ``[C, P]`` in which the originals ``[N, P]`` vary most, at most ten.

    Directions that hold less than a millionth of the first one's variance are left out.
    """
    if len(originals) < 2:
        return torch.zeros(0, originals.shape[1])
    variances, coefficients = torch.linalg.eigh(centered_products(originals))
    variances, coefficients = variances.flip(0), coefficients.flip(1)
    count = int((variances > 1e-6 * variances[0].clamp(min=1e-300)).sum())
    count = min(count, NUM_COMPONENTS, len(originals) - 1)
    to_unit_length = coefficients[:, :count] / variances[:count].sqrt()
    directions = torch.empty(count, originals.shape[1])
    for columns in column_blocks(originals):
        values = originals[:, columns].double()
        directions[:, columns] = (to_unit_length.T @ (values - values.mean(0))).float()
    return directions


def dispersion_in_components(
    vectors: Tensor, originals: Tensor, components: Tensor
) -> tuple[float, ...] | None:
    """Compute ``dispersion`` along each of the originals' principal components ``[C, P]``."""
    if len(vectors) < 2 or not len(components):
        return None
    groups = vectors, originals
    own, reference = (torch.zeros(len(g), len(components), dtype=torch.float64) for g in groups)
    for columns in column_blocks(*groups):
        # products with what is far from 0 would lose small variances
        center, along = originals[:, columns].double().mean(0), components[:, columns].double().T
        own += (vectors[:, columns].double() - center) @ along
        reference += (originals[:, columns].double() - center) @ along
    return tuple(map(float, own.std(0) / reference.std(0)))


def effective_rank(vectors: Tensor) -> float | None:
    """Compute the number of directions in which a group ``[M, P]`` varies (Roy and Vetterli 2007).

    The exponential of the entropy of the covariance's eigenvalues, scaled to sum to 1; None where
    nothing varies.
    """
    if len(vectors) < 2:
        return None
    variances = torch.linalg.eigvalsh(centered_products(vectors)).clamp(min=0)
    if not float(variances.sum()):
        return None
    return float(torch.special.entr(variances / variances.sum()).sum().exp())


def effective_rank_ratio(vectors: Tensor, originals: Tensor) -> float | None:
    """Divide a group's effective rank by that of equally many evenly spaced originals."""
    count = min(len(vectors), len(originals))
    own, reference = (
        effective_rank(
            group  # which may be large: no copy
            if len(group) == count
            else group[evenly_spaced(len(group), count)]
        )
        for group in (vectors, originals)
    )
    return None if own is None or reference is None else own / reference


def _per_tensor(vectors: Tensor, references: "ReferenceSet") -> dict[str, float | None] | None:
    found = dispersion_per_tensor(vectors, references.originals, references.layout)
    return None if all(value is None for value in found.values()) else found


DISPERSION = Metric(
    name="dispersion",
    label="Dispersion",
    section="New",
    type=float,
    needs=frozenset({"several networks"}),
    of_vectors=lambda vectors, references: dispersion(vectors, references.originals),
    explanation=(
        "Square root of the sum of the variances of the parameters within a group, divided by "
        "that of the originals, each tensor normalized first. 1 is as varied as the originals, 0 "
        "one network repeated. Averaging lowers it and often raises {{ score.name }}, which is "
        "why {{ score.name }} alone would reward a collapsed generator. It is also given for each "
        "tensor, and along the originals&rsquo; principal components, the directions in which "
        "they vary most."
    ),
    columns=(
        Column("groups", "Disper&shy;sion"),
        Column("novelty", "Disper&shy;sion"),
    ),
)
DISPERSION_PER_TENSOR = Metric(
    name="dispersion_per_tensor",
    label="Dispersion by tensor",
    section="New",
    type=dict[str, float | None],
    needs=frozenset({"several networks"}),
    of_vectors=_per_tensor,
)
"""Shown as a figure and a table of its own."""
DISPERSION_IN_COMPONENTS = Metric(
    name="dispersion_in_components",
    label="Dispersion by principal component",
    section="New",
    type=tuple[float, ...],
    needs=frozenset({"several networks"}),
    of_vectors=lambda vectors, references: dispersion_in_components(
        vectors, references.originals, references.components
    ),
)
"""Along the originals' first principal components, largest first; a figure and a table."""
EFFECTIVE_RANK_RATIO = Metric(
    name="effective_rank_ratio",
    label="Effective-rank ratio",
    section="New",
    type=float,
    needs=frozenset({"several networks"}),
    of_vectors=lambda vectors, references: effective_rank_ratio(vectors, references.originals),
    explanation=(
        "In how many directions a group varies (exponential of the entropy of its variances; Roy "
        "and Vetterli 2007), divided by the same for equally many originals. Below 1 the group "
        "varies in fewer directions than the originals; far above 1 it is closer to independent "
        "noise, as a Gaussian fit of each parameter is."
    ),
    columns=(Column("novelty", "Effective-rank ratio"),),
)
