"""What a construction is made from, and what it makes.

Vectors are normalized per tensor. The originals are never written to (the published critique's
code overwrote the checkpoints it averaged).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.methods.subspace import Embedding
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import Normalization
from paramdiff.permutation.symmetry import Symmetries


@dataclass(frozen=True)
class Material:
    """What a construction may use.

    Attributes:
        originals: ``[N, P]``, normalized per tensor.
        raw: the same originals ``[N, P]`` as they were saved.
        layout: where each tensor lies in a vector.
        normalization: from raw to normalized values and back.
        untrained: a seed to the normalized vector ``[P]`` of a freshly initialized network; None
            where the network is not at hand.
        validation_score: ``[N]``, of the originals; or the task's own score.
        validate: normalized vectors ``[M, P]`` to their validation scores ``[M]``.
        symmetries: what can trade places in the network, where that is known.
        runs: ``[N]`` number of the training run that each original comes from, where known.
    """

    originals: Tensor
    raw: Tensor
    layout: ParameterLayout
    normalization: Normalization
    untrained: Callable[[int], Tensor] | None
    validation_score: Tensor
    validate: Callable[[Tensor], Tensor]
    symmetries: Symmetries | None = None
    runs: Tensor | None = None

    @cached_property
    def embedding(self) -> Embedding:
        """The originals as points of N - 1 dimensions; computed once."""
        return Embedding(self.originals)

    @property
    def has_several_trajectories(self) -> bool:
        """Whether the originals come from more than one run, and from each more than once."""
        counts = [] if self.runs is None else self.runs.unique(return_counts=True)[1].tolist()
        return len(counts) > 1 and min(counts) > 1


@dataclass(frozen=True)
class Construction:
    """New vectors.

    Attributes:
        vectors: ``[M, P]``, normalized per tensor.
        source: ``[M]`` index of the original that each was made from, where there is one.
        raw: ``[M, P]``, the same in raw values, where these were made; elsewhere they follow from
            ``vectors``.
        facts: what was chosen while making them, label to value, for the report.
    """

    vectors: Tensor
    source: Tensor | None = None
    raw: Tensor | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """A named construction.

    Attributes:
        name: as in ``evaluation.json``.
        build: material, number of vectors and generator to a construction.
        min_originals: with fewer the construction is left out.
        data: what it looks at beside the parameters.
        needs_network: whether it is left out where the network is not at hand.
        needs_trajectories: whether it is left out where there are not several trajectories.
        finishes: whether re-estimating BatchNorm statistics is its own last step; not of controls.
    """

    name: str
    build: Callable[[Material, int, torch.Generator], Construction]
    min_originals: int = 1
    data: DataUse = NO_DATA
    needs_network: bool = False
    needs_trajectories: bool = False
    finishes: bool = False

    def missing(self, material: Material) -> str | None:
        """Why the construction cannot be made, or None."""
        if len(material.originals) < self.min_originals:
            return f"needs {self.min_originals} checkpoints"
        if self.needs_network and material.untrained is None:
            return "needs the network"
        if self.needs_trajectories and not material.has_several_trajectories:
            return "needs several runs with several checkpoints each"
        return None


@dataclass(frozen=True)
class Family:
    """A method at any strength.

    For one seed of the generator its members differ in their strength alone: each draws the same
    normal numbers and scales them, so that what is measured of them changes smoothly with it.

    Attributes:
        name: what members' names begin with.
        fixed: strengths that every evaluation makes.
        smallest: strength in a search.
        largest: strength in a search.
        member: a strength to the construction.
    """

    name: str
    fixed: tuple[float, ...]
    smallest: float
    largest: float
    member: Callable[[float], Baseline]

    def at(self, strength: float) -> Baseline:
        """The member at a strength, which is rounded to what the member's name tells."""
        return self.member(rounded(strength))

    def missing(self, material: Material) -> str | None:
        """Why no member can be made, or None."""
        return self.at(self.largest).missing(material)


def rounded(strength: float) -> float:
    """A strength to three significant digits: what is named alike is alike."""
    return float(f"{strength:.3g}")
