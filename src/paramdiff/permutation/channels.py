"""Channel labels: the axes along which a network's parameters can be permuted.

Every value that a network computes has one label per element; elements with the same label belong
to one channel (a feature map at all its pixels, a feature at all its tokens). Tracing the network
ties labels that must be permuted together. Labels tied to ``FIXED`` cannot be permuted.
"""

import math
from dataclasses import dataclass, field

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from paramdiff.errors import UserError

FIXED = 0
"""Label of inputs, outputs, constants and positions, which keep their order."""


@dataclass
class ChannelLabels:
    """Channel labels, the ties between them, and the reductions over them.

    Attributes:
        reductions: pairs of label rows ``[R, K]`` and labels ``[R]`` of the results of sums or
            norms over them, which are invariant to permutations within a row.
    """

    reductions: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _roots: Tensor = field(default_factory=lambda: torch.tensor([FIXED]))

    def fresh(self, *shape: int) -> Tensor:
        """Create labels of new channels, one per element."""
        first = len(self._roots)
        labels = torch.arange(first, first + torch.Size(shape).numel())
        self._roots = torch.cat([self._roots, labels])
        return labels.view(shape)

    def resolve(self, labels: Tensor) -> Tensor:
        """Map labels to the representatives of the sets that they are tied into."""
        return self._roots[labels]

    def tie(self, one: Tensor, other: Tensor) -> None:
        """Tie labels element by element; shapes are broadcast."""
        one, other = torch.broadcast_tensors(self.resolve(one), self.resolve(other))
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

    def unify(self, labels: Tensor, dims: tuple[int, ...]) -> Tensor:
        """Tie all labels along some dimensions, which have size 1 in the result."""
        for dim in dims:
            first = labels.narrow(dim, 0, 1)
            self.tie(first, labels)
            labels = first
        return labels

    def vary(self, labels: Tensor, dim: int) -> bool:
        """Check if a dimension holds more than one channel."""
        found = self.resolve(labels)
        return bool((found != found.narrow(dim, 0, 1)).any())

    def reduce_over(self, rows: Tensor, owners: Tensor | None = None) -> Tensor:
        """Record reductions over label rows ``[R, K]``; return labels ``[R]`` of the results."""
        if owners is None:
            rows, inverse = self.resolve(rows).unique(dim=0, return_inverse=True)
            owners = self.fresh(len(rows))
        else:
            inverse = torch.arange(len(rows))
        self.reductions.append((rows, owners))
        return owners[inverse]

    def merge_equal_reductions(self) -> None:
        """Tie the results of reductions over rows that later ties have made equal."""
        for rows, owners in self.reductions:
            _, inverse = self.resolve(rows).sort(1).values.unique(dim=0, return_inverse=True)
            for number in range(int(inverse.max()) + 1):
                same = owners[inverse == number]
                self.tie(same, same[:1])


@dataclass
class ParamAxes:
    """A parameter or buffer with the channel labels of its axes.

    Attributes:
        name: name in the state dict.
        shape: shape of the tensor.
        layers: labels that broadcast to the shape: one tensor of labels if each element belongs
            to one channel, as in a bias; two if it connects an output to an input channel.
    """

    name: str
    shape: tuple[int, ...]
    layers: list[Tensor] = field(default_factory=list)

    def elementwise(self, channels: ChannelLabels) -> Tensor:
        """Return the labels of a tensor whose elements belong to one channel each."""
        if not self.layers:
            self.layers = [channels.fresh(*self.shape)]
        self._check(1)
        return self.layers[0]

    def connect(self, channels: ChannelLabels, *layers: Tensor) -> None:
        """Bind the axes to channels; a parameter used twice ties both uses."""
        if not self.layers:
            self.layers = list(layers)
        self._check(len(layers))
        for own, given in zip(self.layers, layers, strict=True):
            channels.tie(own, given)

    def rows(self, channels: ChannelLabels, dim: int) -> Tensor:
        """Return the labels ``[size]`` of the output channels, which lie along ``dim``."""
        if self.layers:
            self._check(2)
            return self.layers[0].flatten()
        return channels.fresh(self.shape[dim])

    def _check(self, num_layers: int) -> None:
        if len(self.layers) != num_layers:
            raise UserError(
                f"tensor {self.name!r} is used both as a matrix and element by element"
            )


@dataclass(frozen=True)
class AxisBinding:
    """The axis of a tensor, viewed as ``[lead, size, rest]``, that channels lie along.

    Attributes:
        name: name of the tensor.
        lead: product of the dimensions before the axis.
        rest: product of the dimensions after the axis.
        labels: channel of each index, ``[size]``.
        in_rows: True if each block of rows has channels of its own, as in a grouped convolution;
            these move along when the rows are permuted.
    """

    name: str
    lead: int
    rest: int
    labels: Tensor
    in_rows: bool


def bind_axes(weight: ParamAxes, channels: ChannelLabels) -> list[AxisBinding]:
    """List the axes of a tensor that can be permuted."""
    found = []
    for number, layer in enumerate(weight.layers):
        labels = channels.resolve(layer)
        if not labels.dim() or bool((labels == FIXED).all()):
            continue
        dims = [dim for dim in range(labels.dim()) if channels.vary(labels, dim)] or [0]
        start, stop = dims[0], dims[-1] + 1
        for dim in (*range(start), *range(stop, labels.dim())):
            labels = labels.narrow(dim, 0, 1)
        middle = weight.shape[start:stop]
        shape = (*(1,) * start, *middle, *(1,) * (labels.dim() - stop))
        labels = labels.expand(shape).flatten()
        lead, rest = math.prod(weight.shape[:start]), math.prod(weight.shape[stop:])
        found.append(
            AxisBinding(weight.name, lead, rest, labels, number > 0 and channels.vary(layer, 0))
        )
    return found
