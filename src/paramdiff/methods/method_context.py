"""The context of a method, and its samples.

Vectors are normalized per tensor. The originals are never written to (the published critique's
code overwrote the checkpoints it averaged).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.memmap import map_rows, row_blocks
from paramdiff.methods.data_matched_training import DataMatchedTraining
from paramdiff.methods.data_use import DataBudget, DataUse
from paramdiff.methods.subspace import Embedding
from paramdiff.parameters.adapters import AdapterProducts
from paramdiff.parameters.layout import ParameterLayout, Slot
from paramdiff.parameters.normalization import Normalization, fit_for_comparison
from paramdiff.permutation.symmetry import Symmetries


@dataclass(frozen=True)
class MethodContext:
    """The originals, and what is known of them and of their network.

    Attributes:
        originals: ``[N, P]``, normalized per tensor.
        raw: the same originals ``[N, P]`` as they were saved.
        layout: where each tensor lies in a vector.
        normalization: from raw to normalized values and back.
        untrained: a seed to the normalized vector ``[P]`` of a freshly initialized network; None
            if the network is not at hand.
        validation_score: ``[N]``, of the originals; None without validation data.
        validate: normalized vectors ``[M, P]`` to their validation scores ``[M]``; None likewise.
        symmetries: the network's permutation symmetries; None if they are not known.
        runs: ``[N]`` number of the training run that each original comes from; None if unknown.
        steps: ``[N]`` training step of each original within its run; None if unknown. The
            originals of a run lie in training order.
        base: ``[P]``, raw, of the network from which all runs started; None if unknown.
        adapters: low-rank factors among the tensors, as whose products methods see them; None if
            there are none, or methods are to see the factors.
        data_budget: the training data that the generator used; None if it used none.
        data_matched: fine-tunes networks on as much training data; None if the generator used
            none, or the task is no classification.
    """

    originals: Tensor
    raw: Tensor
    layout: ParameterLayout
    normalization: Normalization
    untrained: Callable[[int], Tensor] | None = None
    validation_score: Tensor | None = None
    validate: Callable[[Tensor], Tensor] | None = None
    symmetries: Symmetries | None = None
    runs: Tensor | None = None
    steps: Tensor | None = None
    base: Tensor | None = None
    adapters: AdapterProducts | None = None
    data_budget: DataBudget | None = None
    data_matched: DataMatchedTraining | None = None

    @cached_property
    def of_products(self) -> "ProductContext":
        """The same with the products of low-rank factors in their place."""
        adapters, validate = self.adapters, self.validate
        assert adapters is not None
        raw = adapters.multiplied(self.raw)
        normalization = fit_for_comparison(raw, adapters.products)

        def factored(vectors: Tensor) -> Tensor:
            return self.normalization.apply(adapters.factored(normalization.invert(vectors))[0])

        untrained, base = self.untrained, self.base
        return ProductContext(
            factors=adapters,
            data_budget=self.data_budget,
            data_matched=self.data_matched,
            runs=self.runs,
            steps=self.steps,
            validation_score=self.validation_score,
            originals=normalization.apply(raw),
            raw=raw,
            layout=adapters.products,
            normalization=normalization,
            untrained=None
            if untrained is None
            else lambda number: normalization.apply(
                adapters.multiplied(self.normalization.invert(untrained(number)[None]))
            )[0],
            validate=None if validate is None else lambda vectors: validate(factored(vectors)),
            base=None if base is None else adapters.multiplied(base[None])[0],
        )

    @cached_property
    def embedding(self) -> Embedding:
        """The originals as points of N - 1 dimensions; computed once."""
        return Embedding(self.originals)

    @cached_property
    def shared(self) -> list[Slot]:
        """The tensors in which all originals are equal, such as those that were not trained."""
        differs = torch.zeros(self.layout.num_parameters, dtype=torch.bool)
        for rows in row_blocks(self.raw):
            differs |= (rows != self.raw[0]).any(0)
        return [slot for slot in self.layout.slots if not differs[slot.start : slot.stop].any()]

    @cached_property
    def trajectories(self) -> list[Tensor]:
        """The originals ``[n]`` of each run, in training order; one run if none is known."""
        if self.runs is None:
            return [torch.arange(len(self.originals))]
        return [(self.runs == run).nonzero()[:, 0] for run in self.runs.unique()]

    @property
    def has_several_trajectories(self) -> bool:
        """Return whether there are several runs, each with several originals."""
        return len(self.trajectories) > 1 and min(map(len, self.trajectories)) > 1

    @property
    def is_ordered(self) -> bool:
        """Return whether every run has several originals, whose training order is known."""
        steps = self.steps
        return steps is not None and all(
            len(rows) > 1 and bool(steps[rows].diff().gt(0).all()) for rows in self.trajectories
        )


@dataclass(frozen=True, kw_only=True)
class ProductContext(MethodContext):
    """A context whose vectors hold the products of low-rank factors.

    Attributes:
        factors: multiplies and factors.
    """

    factors: AdapterProducts

    def vectors_of(self, raw: Tensor, scratch: Path | None = None) -> Tensor:
        """Multiply raw vectors ``[M, P]`` of factors, and normalize; ``[M, Q]``."""
        products = self.factors.multiplied(raw, scratch)
        size = self.layout.num_parameters
        return map_rows(products, self.normalization.apply, size, scratch)


@dataclass(frozen=True)
class Samples:
    """New parameter vectors.

    Attributes:
        vectors: ``[M, P]``, normalized per tensor.
        source: ``[M]`` index of the original that each was made from; None if there is none.
        raw: ``[M, P]``, the same in raw values; None if they follow from ``vectors``.
        facts: choices made on the way, label to value, for the report.
        data_used: the task data that they were made with; None for the method's own.
    """

    vectors: Tensor
    source: Tensor | None = None
    raw: Tensor | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    data_used: DataUse | None = None


Sampling = Callable[..., Samples]
"""Takes a context, ``Draws`` and the strength, which is None for a method without one."""
