"""Which units of a network can trade places without changing what it computes.

Units whose places in all tensors correspond are interchangeable: a group. Units that only trade
places within a block (those of one attention head, of one group of a grouped convolution) make one
group per block, and the blocks make another, whose items take all their units along.
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
from paramdiff.permutation.channels import FIXED, Port
from paramdiff.permutation.graph import Structure, read_structure
from paramdiff.scoring.split import private_copy

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative to the largest output; float32 where the network casts its values to that."""


@dataclass(frozen=True)
class Place:
    """Where the units of a group lie in one tensor, seen as ``[lead, size, rest]``.

    Attributes:
        name: of the tensor.
        start: of the tensor in the vector.
        shape: ``(lead, size, rest)``.
        positions: ``[items, units, number]`` along ``size``.
        in_rows: whether items are moved by the tensor's rows already, see ``Port``.
    """

    name: str
    start: int
    shape: tuple[int, int, int]
    positions: Tensor
    in_rows: bool

    def of(self, vector: Tensor) -> Tensor:
        """The tensor in a vector ``[P]``; a view."""
        return vector[self.start : self.start + torch.Size(self.shape).numel()].view(self.shape)

    def values(self, vector: Tensor) -> Tensor:
        """The elements of every unit: ``[items, units, elements]``."""
        items, units, number = self.positions.shape
        chosen = self.of(vector)[:, self.positions.flatten()]
        return chosen.view(-1, items, units, number * self.shape[2]).permute(1, 2, 0, 3).flatten(2)


@dataclass(frozen=True)
class Arrangement:
    """New places of a group's items.

    Attributes:
        items: ``[items]``; place ``i`` gets item ``items[i]``.
        units: ``[items, units]`` for each class: unit ``u`` of place ``i`` gets that unit of the
            item.
    """

    items: Tensor
    units: tuple[Tensor, ...]


@dataclass(frozen=True)
class Group:
    """Interchangeable items: single units, or blocks with all their units.

    Attributes:
        size: number of items.
        classes: the places of the units of each class; units of one item and class are
            interchangeable themselves.
    """

    size: int
    classes: tuple[tuple[Place, ...], ...]

    def num_units(self, number: int) -> int:
        """How many units of a class an item has."""
        return self.classes[number][0].positions.shape[1]

    def rearranged(self, vector: Tensor, new: Arrangement) -> Tensor:
        """A network's vector ``[P]`` with items in new places; it computes the same."""
        vector = vector.clone()
        moves = [
            (place, units)
            for places, units in zip(self.classes, new.units, strict=True)
            for place in places
        ]
        for place, units in sorted(moves, key=lambda move: move[0].in_rows):  # after their rows
            moved = place.positions if place.in_rows else place.positions[new.items]
            moved = moved.gather(1, units[:, :, None].expand_as(moved))
            tensor = place.of(vector)
            tensor[:, place.positions.flatten()] = tensor[:, moved.flatten()]
        return vector

    def random(self, generator: torch.Generator) -> Arrangement:
        """Any arrangement, all equally likely."""

        def shuffled(size: int) -> Tensor:
            return torch.randperm(size, generator=generator)

        units = tuple(
            torch.stack([shuffled(self.num_units(number)) for _ in range(self.size)])
            for number in range(len(self.classes))
        )
        return Arrangement(shuffled(self.size), units)


@dataclass(frozen=True)
class Symmetries:
    """All that can trade places in a network.

    Attributes:
        groups: of interchangeable items; units before blocks.
        layout: of the vectors that they lie in.
    """

    groups: tuple[Group, ...]
    layout: ParameterLayout

    def shuffled(self, vector: Tensor, generator: torch.Generator) -> Tensor:
        """A network's vector ``[P]`` with its units in random order; it computes the same."""
        for group in self.groups:
            vector = group.rearranged(vector, group.random(generator))
        return vector


def find_symmetries(network: nn.Module, layout: ParameterLayout, example: Tensor) -> Symmetries:
    """Find the symmetries of a network from its graph, and prove them on an example.

    Args:
        network: any module from one tensor to its outputs; it is copied, never changed.
        layout: of its whole state dict.
        example: a few inputs ``[B, ...]``.

    Returns:
        The symmetries.

    Raises:
        UserError: not all of the network is in the layout, its structure is not understood, or
            nothing in it can trade places.
    """
    refuse_parts(network.state_dict(), layout)
    structure = read_structure(network, example)
    starts = {slot.name: slot.start for slot in layout.slots}
    ports = [port for port in structure.ports if port.name in starts]
    symmetries = Symmetries(tuple(_groups(structure, ports, starts)), layout)
    if not symmetries.groups:
        raise UserError(f"alignment: no two units of {type(network).__name__} can trade places")
    _prove(network, symmetries, example)
    return symmetries


def refuse_parts(tensors: Mapping[str, Tensor], layout: ParameterLayout) -> None:
    """Raise a ``UserError`` where the layout leaves out some of a network's tensors."""
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise UserError(f"alignment: expected real tensors, found {name!r} of {tensor.dtype}")
        if name not in layout.names and is_generated(name, tensor):
            raise UserError(
                "alignment: units trade places in all tensors at once, so every tensor must be "
                f"selected; {name!r} is not"
            )


def _groups(structure: Structure, ports: Sequence[Port], starts: dict[str, int]) -> list[Group]:
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for number, port in enumerate(ports):
        for unit, count in Counter(port.labels.tolist()).items():
            counts[unit][number] = count
    counts.pop(FIXED, None)
    owners, members = _ownership(structure)
    role = {unit: tuple(sorted(found.items())) for unit, found in counts.items()}
    alike: dict[tuple, list[int]] = defaultdict(list)
    for unit in sorted(role):
        alike[role[unit], frozenset(owners[unit])].append(unit)
    items = [[[[unit]] for unit in found] for found in alike.values() if len(found) > 1]
    blocks: dict[tuple, list[list[list[int]]]] = defaultdict(list)
    for owner in sorted(members):
        if any(len(owners[unit]) > 1 for unit in members[owner]) or owners[owner]:
            continue
        by_role: dict[tuple, list[int]] = defaultdict(list)
        for unit in [owner, *sorted(members[owner])]:
            if unit in role:
                by_role[unit == owner, role[unit]].append(unit)
        key = tuple(sorted((one, len(found)) for one, found in by_role.items()))
        blocks[key].append([by_role[one] for one, _ in key])
    items += [found for found in blocks.values() if len(found) > 1 and found[0]]
    return [_group(found, ports, role, starts) for found in items]


def _ownership(structure: Structure) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """The owners of each unit, and the units of each owner."""
    owners: dict[int, set[int]] = defaultdict(set)
    members: dict[int, set[int]] = defaultdict(set)
    for rows, labels in structure.units.owned:
        found, names = structure.units.of(rows), structure.units.of(labels)
        for row, owner in zip(found, names.tolist(), strict=True):
            for unit in row.unique().tolist():
                if unit != FIXED:
                    owners[unit].add(owner)
                    members[owner].add(unit)
    return owners, members


def _group(
    items: list[list[list[int]]],
    ports: Sequence[Port],
    role: dict[int, tuple],
    starts: dict[str, int],
) -> Group:
    classes = []
    of_blocks = len(items[0]) > 1 or len(items[0][0]) > 1
    for number, first in enumerate(items[0]):
        places = []
        for index, _ in role[first[0]]:
            port = ports[index]
            where: dict[int, list[int]] = defaultdict(list)
            for position, unit in enumerate(port.labels.tolist()):
                where[unit].append(position)
            positions = torch.tensor([[where[unit] for unit in item[number]] for item in items])
            shape = (port.lead, len(port.labels), port.rest)
            in_rows = of_blocks and port.in_rows
            places.append(Place(port.name, starts[port.name], shape, positions, in_rows))
        classes.append(tuple(places))
    return Group(len(items), tuple(classes))


@torch.no_grad()
def _prove(network: nn.Module, symmetries: Symmetries, example: Tensor) -> None:
    """Shuffle everything in a network of random values, and compare what it computes."""
    if example.is_meta:
        return
    generator = torch.Generator().manual_seed(0)
    layout, state = symmetries.layout, network.state_dict()
    vector = torch.cat([state[slot.name].cpu().double().flatten() for slot in layout.slots])
    scatter = torch.rand(vector.shape, generator=generator, dtype=torch.float64)
    vector = vector * (0.75 + scatter / 2) + 0.05 * scatter  # stays positive where it was
    shuffled = symmetries.shuffled(vector, generator)

    def outputs(values: Tensor, dtype: torch.dtype) -> Tensor:
        private = private_copy(network).cpu().to(dtype)
        named = {
            slot.name: values[slot.start : slot.stop].view(slot.shape).to(dtype)
            for slot in layout.slots
        }
        return functional_call(private, named, (example.cpu().to(dtype),)).to(dtype)

    not_understood = f"alignment: the structure of {type(network).__name__} is not understood"
    for dtype, tolerance in TOLERANCES.items():
        try:
            expected, found = outputs(vector, dtype), outputs(shuffled, dtype)
        except Exception as error:  # of the network's own code, which may raise anything
            reason = first_line(error)
            continue
        if torch.allclose(found, expected, rtol=0, atol=tolerance * float(expected.abs().max())):
            return
        reason = "the units that seem interchangeable are not"
        break
    raise UserError(f"{not_understood}: {reason}")
