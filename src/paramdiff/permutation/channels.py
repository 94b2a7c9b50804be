"""Units: what a network computes side by side and could compute in another order.

Every value that a network computes has as many labels as elements; elements with one label belong
to one unit (a channel at all its pixels, a feature at all its tokens). Reading the network ties
labels that must move together. What is tied to ``FIXED`` cannot move.
"""

import math
from dataclasses import dataclass, field

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from paramdiff.errors import UserError

FIXED = 0
"""The label of inputs, outputs, constants and positions."""


@dataclass
class Units:
    """Labels of units, some of them tied, and what units belong together.

    Attributes:
        owned: pairs of rows of labels ``[R, K]`` and the labels ``[R]`` of what owns them: a sum
            or a norm over a row does not change when the row's units trade places.
    """

    owned: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _roots: Tensor = field(default_factory=lambda: torch.tensor([FIXED]))

    def fresh(self, *shape: int) -> Tensor:
        """Labels of new units, one per element."""
        first = len(self._roots)
        labels = torch.arange(first, first + torch.Size(shape).numel())
        self._roots = torch.cat([self._roots, labels])
        return labels.view(shape)

    def of(self, labels: Tensor) -> Tensor:
        """The same labels, equal where they are tied."""
        return self._roots[labels]

    def tie(self, one: Tensor, other: Tensor) -> None:
        """Make units move together, element by element; shapes are broadcast."""
        one, other = torch.broadcast_tensors(self.of(one), self.of(other))
        differ = one != other
        if not differ.any():
            return
        total = len(self._roots)
        pairs = (one[differ] * total + other[differ]).unique()
        edges = (torch.ones(len(pairs)), (pairs // total, pairs % total))
        _, found = connected_components(coo_array(edges, (total, total)), directed=False)
        component = torch.from_numpy(found).long()
        smallest = torch.full((int(component.max()) + 1,), total)
        smallest.scatter_reduce_(0, component, torch.arange(total), "amin")
        self._roots = smallest[component][self._roots]

    def even(self, labels: Tensor, dims: tuple[int, ...]) -> Tensor:
        """Tie what lies along some dimensions; these have size 1 in the result."""
        for dim in dims:
            first = labels.narrow(dim, 0, 1)
            self.tie(first, labels)
            labels = first
        return labels

    def vary(self, labels: Tensor, dim: int) -> bool:
        """Whether several units lie along a dimension."""
        found = self.of(labels)
        return bool((found != found.narrow(dim, 0, 1)).any())

    def own(self, rows: Tensor, owners: Tensor | None = None) -> Tensor:
        """Say that the units of each row ``[R, K]`` belong together; gives the owners ``[R]``."""
        if owners is None:
            rows, inverse = self.of(rows).unique(dim=0, return_inverse=True)
            owners = self.fresh(len(rows))
        else:
            inverse = torch.arange(len(rows))
        self.owned.append((rows, owners))
        return owners[inverse]

    def settle(self) -> None:
        """Tie the owners of equal rows, which later ties have made equal."""
        for rows, owners in self.owned:
            _, inverse = self.of(rows).sort(1).values.unique(dim=0, return_inverse=True)
            for number in range(int(inverse.max()) + 1):
                same = owners[inverse == number]
                self.tie(same, same[:1])


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
