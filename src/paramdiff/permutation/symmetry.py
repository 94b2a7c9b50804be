"""Permutation symmetries of a network: reorderings of channels that leave its function unchanged.

Channels whose indices correspond in all tensors are interchangeable: a group. Channels that are
interchangeable only within a block (those of one attention head, or of one group of a grouped
convolution) form one group per block, and the blocks form another, whose items keep their
channels.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paramdiff.checkpoints.tensor_kinds import is_generated
from paramdiff.errors import UserError, first_line
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.permutation.channels import FIXED, AxisBinding
from paramdiff.permutation.graph import Structure, read_structure
from paramdiff.scoring.split import private_copy

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative to the largest output; float32 is for networks that cast their values to it."""


@dataclass(frozen=True)
class TensorAxis:
    """The axis of a tensor, viewed as ``[lead, size, rest]``, that a group's channels lie along.

    Attributes:
        name: name of the tensor.
        start: first element of the tensor in the vector.
        shape: ``(lead, size, rest)``.
        positions: indices along ``size``, ``[items, channels, number]``.
        in_rows: True if permuting the tensor's rows moves the items already, see ``AxisBinding``.
    """

    name: str
    start: int
    shape: tuple[int, int, int]
    positions: Tensor
    in_rows: bool

    def of(self, vector: Tensor) -> Tensor:
        """Return the tensor's view into a vector ``[P]``."""
        return vector[self.start : self.start + torch.Size(self.shape).numel()].view(self.shape)

    def values(self, vector: Tensor) -> Tensor:
        """Gather the elements of every channel, ``[items, channels, elements]``."""
        items, channels, number = self.positions.shape
        chosen = self.of(vector)[:, self.positions.flatten()]
        return (
            chosen.view(-1, items, channels, number * self.shape[2]).permute(1, 2, 0, 3).flatten(2)
        )


@dataclass(frozen=True)
class Permutation:
    """A permutation of a group's items and of the channels within them.

    Attributes:
        items: source item of each position, ``[items]``.
        channels: for each class, the source channel within the item, ``[items, channels]``.
    """

    items: Tensor
    channels: tuple[Tensor, ...]


@dataclass(frozen=True)
class Group:
    """Interchangeable items: single channels, or blocks with all their channels.

    Attributes:
        size: number of items.
        classes: axes of each class of channels; channels of one item and class are
            interchangeable, too.
    """

    size: int
    classes: tuple[tuple[TensorAxis, ...], ...]

    def num_channels(self, number: int) -> int:
        """Return the number of channels that an item has in a class."""
        return self.classes[number][0].positions.shape[1]

    def apply(self, vector: Tensor, permutation: Permutation) -> Tensor:
        """Permute a network's vector ``[P]``; the network's function does not change."""
        vector = vector.clone()
        moves = [
            (axis, channels)
            for axes, channels in zip(self.classes, permutation.channels, strict=True)
            for axis in axes
        ]
        for axis, channels in sorted(moves, key=lambda move: move[0].in_rows):  # after the rows
            moved = axis.positions if axis.in_rows else axis.positions[permutation.items]
            moved = moved.gather(1, channels[:, :, None].expand_as(moved))
            tensor = axis.of(vector)
            tensor[:, axis.positions.flatten()] = tensor[:, moved.flatten()]
        return vector

    def random_permutation(self, generator: torch.Generator) -> Permutation:
        """Draw a permutation uniformly."""

        def shuffled(size: int) -> Tensor:
            return torch.randperm(size, generator=generator)

        channels = tuple(
            torch.stack([shuffled(self.num_channels(number)) for _ in range(self.size)])
            for number in range(len(self.classes))
        )
        return Permutation(shuffled(self.size), channels)


@dataclass(frozen=True)
class Symmetries:
    """All permutation symmetries of a network.

    Attributes:
        groups: groups of interchangeable items, single channels before blocks.
        layout: layout of the parameter vectors.
    """

    groups: tuple[Group, ...]
    layout: ParameterLayout

    def permute_randomly(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        """Permute the channels of a network's vector ``[P]`` randomly; its function stays."""
        for group in self.groups:
            vector = group.apply(vector, group.random_permutation(generator))
        return vector


def find_symmetries(network: nn.Module, layout: ParameterLayout, example: Tensor) -> Symmetries:
    """Find the permutation symmetries of a network from its graph and prove them on an example.

    Args:
        network: module that maps one tensor to its outputs; copied, never changed.
        layout: layout of its whole state dict.
        example: a few inputs ``[B, ...]``.

    Returns:
        The symmetries.

    Raises:
        UserError: the layout leaves out parameters, the graph is not supported, or the network
            has no permutation symmetries.
    """
    check_complete(network.state_dict(), layout)
    structure = read_structure(network, example)
    starts = {slot.name: slot.start for slot in layout.slots}
    bindings = [binding for binding in structure.bindings if binding.name in starts]
    symmetries = Symmetries(tuple(_groups(structure, bindings, starts)), layout)
    if not symmetries.groups:
        raise UserError(f"alignment: {type(network).__name__} has no permutation symmetries")
    _prove(network, symmetries, example)
    return symmetries


def check_complete(tensors: Mapping[str, Tensor], layout: ParameterLayout) -> None:
    """Raise a ``UserError`` if the layout leaves out some of a network's parameters."""
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise UserError(
                f"alignment: {name!r} is {tensor.dtype}; only networks of real tensors can be "
                "aligned"
            )
        if name not in layout.names and is_generated(name, tensor):
            raise UserError(
                f"alignment: {name!r} is not selected; channels are permuted in all tensors at "
                "once, so every tensor must be selected"
            )


def _groups(
    structure: Structure, bindings: Sequence[AxisBinding], starts: dict[str, int]
) -> list[Group]:
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for number, binding in enumerate(bindings):
        for channel, count in Counter(binding.labels.tolist()).items():
            counts[channel][number] = count
    counts.pop(FIXED, None)
    owners, members = _ownership(structure)
    role = {channel: tuple(sorted(found.items())) for channel, found in counts.items()}
    alike: dict[tuple, list[int]] = defaultdict(list)
    for channel in sorted(role):
        alike[role[channel], frozenset(owners[channel])].append(channel)
    items = [[[[channel]] for channel in found] for found in alike.values() if len(found) > 1]
    blocks: dict[tuple, list[list[list[int]]]] = defaultdict(list)
    for owner in sorted(members):
        if any(len(owners[channel]) > 1 for channel in members[owner]) or owners[owner]:
            continue
        by_role: dict[tuple, list[int]] = defaultdict(list)
        for channel in [owner, *sorted(members[owner])]:
            if channel in role:
                by_role[channel == owner, role[channel]].append(channel)
        key = tuple(sorted((one, len(found)) for one, found in by_role.items()))
        blocks[key].append([by_role[one] for one, _ in key])
    items += [found for found in blocks.values() if len(found) > 1 and found[0]]
    return [_group(found, bindings, role, starts) for found in items]


def _ownership(structure: Structure) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """Return the reductions over each channel, and the channels of each reduction."""
    owners: dict[int, set[int]] = defaultdict(set)
    members: dict[int, set[int]] = defaultdict(set)
    for rows, labels in structure.channels.reductions:
        found, names = structure.channels.resolve(rows), structure.channels.resolve(labels)
        for row, owner in zip(found, names.tolist(), strict=True):
            for channel in row.unique().tolist():
                if channel != FIXED:
                    owners[channel].add(owner)
                    members[owner].add(channel)
    return owners, members


def _group(
    items: list[list[list[int]]],
    bindings: Sequence[AxisBinding],
    role: dict[int, tuple],
    starts: dict[str, int],
) -> Group:
    classes = []
    of_blocks = len(items[0]) > 1 or len(items[0][0]) > 1
    for number, first in enumerate(items[0]):
        axes = []
        for index, _ in role[first[0]]:
            binding = bindings[index]
            where: dict[int, list[int]] = defaultdict(list)
            for position, channel in enumerate(binding.labels.tolist()):
                where[channel].append(position)
            positions = torch.tensor(
                [[where[channel] for channel in item[number]] for item in items]
            )
            shape = (binding.lead, len(binding.labels), binding.rest)
            in_rows = of_blocks and binding.in_rows
            axes.append(TensorAxis(binding.name, starts[binding.name], shape, positions, in_rows))
        classes.append(tuple(axes))
    return Group(len(items), tuple(classes))


@torch.no_grad()
def _prove(network: nn.Module, symmetries: Symmetries, example: Tensor) -> None:
    """Permute a network of random values and compare its outputs."""
    if example.is_meta:
        return
    generator = torch.Generator().manual_seed(0)
    layout, state = symmetries.layout, network.state_dict()
    vector = torch.cat([state[slot.name].cpu().double().flatten() for slot in layout.slots])
    scatter = torch.rand(vector.shape, generator=generator, dtype=torch.float64)
    vector = vector * (0.75 + scatter / 2) + 0.05 * scatter  # positive values stay positive
    shuffled = symmetries.permute_randomly(vector, generator)

    def outputs(values: Tensor, dtype: torch.dtype) -> Tensor:
        private = private_copy(network).cpu().to(dtype)
        named = {
            slot.name: values[slot.start : slot.stop].view(slot.shape).to(dtype)
            for slot in layout.slots
        }
        return functional_call(private, named, (example.cpu().to(dtype),)).to(dtype)

    unsupported = f"alignment: the graph of {type(network).__name__} is not supported"
    for dtype, tolerance in TOLERANCES.items():
        try:
            expected, found = outputs(vector, dtype), outputs(shuffled, dtype)
        except Exception as error:  # raised by the network's own code
            reason = first_line(error)
            continue
        if torch.allclose(found, expected, rtol=0, atol=tolerance * float(expected.abs().max())):
            return
        reason = "permuting its channels changes its outputs"
        break
    raise UserError(f"{unsupported}: {reason}")
