"""Groups of networks before they are evaluated, and those that an evaluation is given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.memmap import map_rows
from paramdiff.methods.data_use import NO_DATA, DataUse, data_used
from paramdiff.methods.group_names import FINISHED
from paramdiff.methods.method_context import MethodContext, ProductContext
from paramdiff.parameters.adapters import AdapterProducts
from paramdiff.parameters.normalization import Normalization
from paramdiff.subsampling import evenly_spaced

REESTIMATED = DataUse("inputs", "training")
"""The data that re-estimating BatchNorm statistics uses."""


@dataclass(frozen=True)
class SampleGroup:
    """Networks that one method made.

    Attributes:
        name: as in ``evaluation.json``.
        raw: ``[M, P]``, as they are evaluated.
        vectors: ``[M, P]``, normalized per tensor.
        source: ``[M]`` index of the original that each was made from; None if there is none.
        seeds: ``[M]`` generator seeds; None if there is one.
        data_used: the task data that the method used.
        finish: the last step that the networks take before they are evaluated.
        facts: choices made on the way, label to value.
    """

    name: str
    raw: Tensor
    vectors: Tensor
    source: Tensor | None = None
    seeds: Tensor | None = None
    data_used: DataUse = NO_DATA
    finish: Literal["batchnorm"] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def given_groups(
    inputs: EvaluationInputs,
    normalization: Normalization,
    products: ProductContext | None = None,
) -> Iterator[SampleGroup]:
    """Yield the groups that an evaluation is given; ``original`` first.

    Args:
        inputs: their networks.
        normalization: of the space in which they are measured.
        products: that space if there are low-rank adapters, see ``product_context``.

    Yields:
        The groups.
    """
    scratch, size = inputs.scratch, inputs.layout.num_parameters

    def group(name: str, raw: Tensor, data: DataUse = NO_DATA) -> SampleGroup:
        if products is not None:
            return SampleGroup(name, raw, products.vectors_of(raw, scratch), data_used=data)
        vectors = map_rows(raw, lambda rows: normalization.apply(rows.float()), size, scratch)
        return SampleGroup(name, raw, vectors, data_used=data)

    own_index = torch.arange(len(inputs.originals))
    used = data_used(inputs.data_budget)
    yield replace(group("original", inputs.originals), source=own_index)
    if inputs.generated is not None:
        yield replace(group("generated", inputs.generated, used), seeds=inputs.generator_seeds)
    for name, raw in inputs.samples.items():
        yield group(name, raw)
    if len(inputs.held_out):
        yield group("held_out", inputs.held_out)
    if inputs.latents is not None:
        decode = inputs.latents.decode
        decoded = map_rows(inputs.original_latents, decode, size, scratch)
        yield group("reconstructed", decoded, used)


def product_context(
    inputs: EvaluationInputs, normalization: Normalization
) -> ProductContext | None:
    """Return the space in which low-rank adapters are measured; None without adapters."""
    adapters = AdapterProducts.find(inputs.layout)
    if adapters is None:
        return None
    return MethodContext(
        originals=inputs.originals,
        raw=inputs.originals,
        layout=inputs.layout,
        normalization=normalization,
        adapters=adapters,
    ).of_products


def reestimated(group: SampleGroup, num: int) -> SampleGroup:
    """Give evenly spaced networks of a group the last step of baselines.

    Args:
        group: the originals or the generated networks.
        num: how many, at most.

    Returns:
        The group, whose name ends in ``+bn``.
    """
    rows = evenly_spaced(len(group.raw), num)
    return SampleGroup(
        group.name + FINISHED,
        group.raw[rows],
        group.vectors[rows],
        None if group.source is None else group.source[rows],
        None if group.seeds is None else group.seeds[rows],
        REESTIMATED if group.data_used == NO_DATA else group.data_used,
        finish="batchnorm",
    )
