"""Trace a network's channels through its graph, recorded by torch.export in evaluation mode."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from paramdiff.errors import UserError, first_line
from paramdiff.permutation.channels import FIXED, AxisBinding, ChannelLabels, ParamAxes, bind_axes
from paramdiff.permutation.operations import CHECKS, MOVING, OPERATIONS, SCALAR, elements
from paramdiff.scoring.split import private_copy


@dataclass(frozen=True)
class Structure:
    """The channels of a network.

    Attributes:
        channels: labels, with their ties and reductions.
        bindings: axes of the state dict's tensors that the channels lie along.
    """

    channels: ChannelLabels
    bindings: list[AxisBinding]


def read_structure(network: nn.Module, example: Tensor) -> Structure:
    """Trace channels through a network from its inputs to its outputs.

    Args:
        network: module that maps one tensor to its outputs; copied, never changed.
        example: inputs ``[B, ...]``, of which only the shape matters. The network is traced on
            their device, which may be the meta device.

    Returns:
        The channels and the axes that they lie along.

    Raises:
        UserError: the graph cannot be recorded, or an operation is not supported.
    """
    private = private_copy(network).to(example.device)
    _refuse_shared(private)
    try:
        exported = torch.export.export(private, (torch.zeros_like(example),), strict=False)
    except Exception as error:  # exporting runs the network's code, which may raise anything
        raise UserError(
            f"alignment: the graph of {type(network).__name__} cannot be recorded: "
            f"{first_line(error)}"
        ) from None
    signature, state = exported.graph_signature, private.state_dict()
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    channels, weights = ChannelLabels(), []
    values: dict[fx.Node, Any] = {}
    for node in exported.graph.nodes:
        if node.op == "placeholder" and names.get(node.name) in state:
            values[node] = ParamAxes(names[node.name], tuple(state[names[node.name]].shape))
            weights.append(values[node])
        elif node.op == "placeholder":
            values[node] = torch.full(node.meta["val"].shape, FIXED)
        elif node.op == "call_function":
            values[node] = _follow(channels, node, values, type(network).__name__)
        elif node.op == "output":
            for one in node.all_input_nodes:
                channels.tie(elements(channels, values[one]), torch.tensor(FIXED))
    channels.merge_equal_reductions()
    return Structure(
        channels, [binding for weight in weights for binding in bind_axes(weight, channels)]
    )


def _follow(
    channels: ChannelLabels, node: fx.Node, values: dict[fx.Node, Any], network: str
) -> Any:
    """Compute the labels of an operation's result."""
    if node.target is operator.getitem:
        whole, index = node.args
        return values[whole][index]  # type: ignore[index]
    if not isinstance(node.target, torch._ops.OpOverload):
        raise UserError(
            f"alignment: {_where(node, network)}: channels cannot be traced through "
            f"{str(node.target)!r}"
        )
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
            return node.target(elements(channels, first).contiguous(), *rest, **kwargs)
        if name in SCALAR:
            return elements(channels, inputs[0]).expand(shape)
        if name in OPERATIONS:
            return OPERATIONS[name](channels, given, shape)
        if not any(_has_channels(channels, one) for one in inputs):
            return torch.full(shape, FIXED)
        raise UserError(f"channels cannot be traced through {name!r}")
    except (UserError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"alignment: {_where(node, network)}: {first_line(error)}") from None


def _has_channels(channels: ChannelLabels, value: Any) -> bool:
    if isinstance(value, ParamAxes):
        return True
    if isinstance(value, Sequence):
        return any(_has_channels(channels, one) for one in value)
    return isinstance(value, Tensor) and bool(channels.resolve(value).any())


def _where(node: fx.Node, network: str) -> str:
    """Name the module that an operation belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", network)
    kind = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    return f"module {path!r} ({kind})" if path else f"{kind}.forward"


def _refuse_shared(network: nn.Module) -> None:
    """Refuse tied tensors, which would have to be permuted together and kept equal."""
    names: dict[int, str] = {}
    for name, tensor in network.named_parameters(remove_duplicate=False):
        other = names.setdefault(id(tensor), name)
        if other != name:
            raise UserError(
                f"alignment: {other!r} and {name!r} are one tensor; tied parameters cannot be "
                "aligned"
            )
