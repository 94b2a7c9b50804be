"""What the elements of one tensor of a checkpoint do to units."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from paramdiff.alignment.units import FIXED, Units
from paramdiff.errors import UserError


@dataclass
class Weight:
    """A parameter or buffer, and the units that its elements belong to.

    Attributes:
        name: in the state dict.
        shape: of the tensor.
        layers: labels that broadcast to the shape. One layer where each element belongs to one
            unit, as in a bias; two where it leads from one unit to another.
    """

    name: str
    shape: tuple[int, ...]
    layers: list[Tensor] = field(default_factory=list)

    def elementwise(self, units: Units) -> Tensor:
        """The labels of the elements, where each belongs to one unit."""
        if not self.layers:
            self.layers = [units.fresh(*self.shape)]
        self._check(1)
        return self.layers[0]

    def connect(self, units: Units, *layers: Tensor) -> None:
        """Say which units the elements belong to; a tensor used twice ties both uses."""
        if not self.layers:
            self.layers = list(layers)
        self._check(len(layers))
        for own, given in zip(self.layers, layers, strict=True):
            units.tie(own, given)

    def rows(self, units: Units, dim: int) -> Tensor:
        """The labels ``[size]`` of the units that the tensor leads to, which lie along ``dim``."""
        if self.layers:
            self._check(2)
            return self.layers[0].flatten()
        return units.fresh(self.shape[dim])

    def _check(self, num_layers: int) -> None:
        if len(self.layers) != num_layers:
            raise UserError(
                f"tensor {self.name!r} is used both as a matrix and element by element"
            )


@dataclass(frozen=True)
class Port:
    """Where units lie in a tensor seen as ``[lead, size, rest]``.

    Attributes:
        name: of the tensor.
        lead: product of the dimensions before.
        rest: product of the dimensions after.
        labels: ``[size]`` the unit of each place.
        in_rows: whether the units are others in each block of rows, as in a grouped convolution;
            they move along where the rows do.
    """

    name: str
    lead: int
    rest: int
    labels: Tensor
    in_rows: bool


def ports_of(weight: Weight, units: Units) -> list[Port]:
    """The places of units in one tensor; none where nothing in it can move."""
    found = []
    for number, layer in enumerate(weight.layers):
        labels = units.of(layer)
        if not labels.dim() or bool((labels == FIXED).all()):
            continue
        dims = [dim for dim in range(labels.dim()) if units.vary(labels, dim)] or [0]
        start, stop = dims[0], dims[-1] + 1
        for dim in (*range(start), *range(stop, labels.dim())):
            labels = labels.narrow(dim, 0, 1)
        middle = weight.shape[start:stop]
        shape = (*(1,) * start, *middle, *(1,) * (labels.dim() - stop))
        labels = labels.expand(shape).flatten()
        lead, rest = math.prod(weight.shape[:start]), math.prod(weight.shape[stop:])
        found.append(Port(weight.name, lead, rest, labels, number > 0 and units.vary(layer, 0)))
    return found
