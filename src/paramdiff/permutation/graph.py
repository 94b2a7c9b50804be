"""Read which units a network has from its graph, as torch.export records it in evaluation mode."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from paramdiff.errors import UserError, first_line
from paramdiff.permutation.channels import FIXED, Port, Units, Weight, ports_of
from paramdiff.permutation.operations import CHECKS, MOVING, OPERATIONS, SCALAR, elements
from paramdiff.scoring.split import private_copy


@dataclass(frozen=True)
class Structure:
    """The units of a network.

    Attributes:
        units: which of them are tied, and which belong together.
        ports: where they lie in the tensors of its state dict.
    """

    units: Units
    ports: list[Port]


def read_structure(network: nn.Module, example: Tensor) -> Structure:
    """Follow units through a network from its inputs to its outputs.

    Args:
        network: any module from one tensor to its outputs; it is copied, never changed.
        example: inputs ``[B, ...]``; only their shape matters. The network is looked at on their
            device, the meta device among them.

    Returns:
        The units.

    Raises:
        UserError: the graph cannot be recorded, or an operation is not understood.
    """
    private = private_copy(network).to(example.device)
    _refuse_shared(private)
    try:
        exported = torch.export.export(private, (torch.zeros_like(example),), strict=False)
    except Exception as error:  # exporting runs the network's own code, which may raise anything
        raise UserError(
            f"alignment: the graph of {type(network).__name__} cannot be recorded: "
            f"{first_line(error)}"
        ) from None
    signature, state = exported.graph_signature, private.state_dict()
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    units, weights = Units(), []
    values: dict[fx.Node, Any] = {}
    for node in exported.graph.nodes:
        if node.op == "placeholder" and names.get(node.name) in state:
            values[node] = Weight(names[node.name], tuple(state[names[node.name]].shape))
            weights.append(values[node])
        elif node.op == "placeholder":
            values[node] = torch.full(node.meta["val"].shape, FIXED)
        elif node.op == "call_function":
            values[node] = _follow(units, node, values, type(network).__name__)
        elif node.op == "output":
            for one in node.all_input_nodes:
                units.tie(elements(units, values[one]), torch.tensor(FIXED))
    units.settle()
    return Structure(units, [port for weight in weights for port in ports_of(weight, units)])


def _follow(units: Units, node: fx.Node, values: dict[fx.Node, Any], network: str) -> Any:
    """The labels of what one operation computes."""
    if node.target is operator.getitem:
        whole, index = node.args
        return values[whole][index]  # type: ignore[index]
    if not isinstance(node.target, torch._ops.OpOverload):
        told = f"{str(node.target)!r} is not an operation through which units can be followed"
        raise UserError(f"alignment: {_where(node, network)}: {told}")
    args: Any = fx.node.map_arg(node.args, lambda one: values[one])
    kwargs: Any = fx.node.map_arg(node.kwargs, lambda one: values[one])
    name = node.target._schema.name.removeprefix("aten::").rstrip("_")
    named = zip(node.target._schema.arguments, args, strict=False)
    given = {argument.name: value for argument, value in named} | dict(kwargs)
    if name in CHECKS:
        return None
    found = node.meta.get("val")
    shape = found.shape if isinstance(found, Tensor) else torch.Size()
    inputs = [values[one] for one in node.all_input_nodes]
    try:
        if name in MOVING:
            first, *rest = args
            return node.target(elements(units, first).contiguous(), *rest, **kwargs)
        if name in SCALAR:
            return elements(units, inputs[0]).expand(shape)
        if name in OPERATIONS:
            return OPERATIONS[name](units, given, shape)
        if not any(_has_units(units, one) for one in inputs):
            return torch.full(shape, FIXED)
        raise UserError(f"{name!r} is not an operation through which units can be followed")
    except (UserError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"alignment: {_where(node, network)}: {first_line(error)}") from None


def _has_units(units: Units, value: Any) -> bool:
    if isinstance(value, Weight):
        return True
    if isinstance(value, Sequence):
        return any(_has_units(units, one) for one in value)
    return isinstance(value, Tensor) and bool(units.of(value).any())


def _where(node: fx.Node, network: str) -> str:
    """The module that an operation belongs to, in words."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", network)
    kind = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    return f"module {path!r} ({kind})" if path else f"{kind}.forward"


def _refuse_shared(network: nn.Module) -> None:
    """Tensors under two names would have to be permuted together and kept equal."""
    names: dict[int, str] = {}
    for name, tensor in network.named_parameters(remove_duplicate=False):
        other = names.setdefault(id(tensor), name)
        if other != name:
            raise UserError(f"alignment: {other!r} and {name!r} are one tensor, which is not read")
