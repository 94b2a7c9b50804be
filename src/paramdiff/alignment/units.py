"""Units: what a network computes side by side and could compute in another order.

Every value that a network computes has as many labels as elements; elements with one label belong
to one unit (a channel at all its pixels, a feature at all its tokens). Reading the network ties
labels that must move together. What is tied to ``FIXED`` cannot move.
"""

from dataclasses import dataclass, field

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

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
