"""Cut a network in two: what a choice of tensors cannot change, and what it can.

Parameter sets that differ only in a few tensors share every activation before the first of them.
torch.fx records the network as a graph; a node depends on the choice if it owns a chosen tensor or
reads from a node that depends. The prefix computes the independent nodes that dependent ones read,
the suffix the rest. Where that is impossible or would be wrong, the suffix is the whole network.
"""

import copy
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from paramdiff.errors import UserError, first_line

ROOT = "network."
TOLERANCE = 1e-5  # relative to the largest output; both sides compute the same operations


@dataclass(frozen=True)
class Cut:
    """A network in two parts: ``suffix(*prefix(x))`` is ``network(x)``, in evaluation mode.

    Args:
        prefix: inputs ``[B, ...]`` to the tuple of values that cross the cut; holds none of the
            chosen tensors.
        suffix: the crossing values to the output; its chosen tensors have the network's names.
        reason: in plain words, why nothing is shared; None if the prefix saves work.
    """

    prefix: nn.Module
    suffix: nn.Module
    reason: str | None


def cut(network: nn.Module, names: Collection[str], example: Tensor) -> Cut:
    """Cut a network before the first use of some of its tensors.

    Args:
        network: any module from one tensor to one output; it is copied, never changed.
        names: parameters and buffers by their names in the state dict.
        example: a few inputs ``[B, ...]``, used to check that the parts equal the network; on the
            meta device, where there are no values to compare, the parts can only be counted.

    Returns:
        The two parts, on copies of the network's tensors.

    Raises:
        UserError: the network has no tensor of such a name.
    """
    whole = private_copy(network)
    chosen = chosen_tensors(whole, names)
    tracer = NetworkTracer()
    if tracer.is_leaf_module(whole, ""):
        return uncut(whole, "the network is a single layer")
    try:
        graph = tracer.trace(SingleInput(whole))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        return uncut(whole, f"torch.fx cannot trace the network: {first_line(error)}")
    try:
        parts = split(whole, graph, {id(tensor) for tensor in chosen.values()})
        exact = example.is_meta or is_exact(whole, parts, chosen, example)
    except Exception as error:  # so does running its parts
        return uncut(whole, f"the parts of the network do not run: {first_line(error)}")
    if not exact:
        return uncut(whole, "the parts of the network do not reproduce its output")
    return parts


def private_copy(network: nn.Module) -> nn.Module:
    """Make a copy in evaluation mode whose activations do not overwrite their inputs."""
    private = copy.deepcopy(network).eval()
    activation: Any
    for activation in private.modules():
        if getattr(activation, "inplace", False) is True:
            activation.inplace = False
    return private


def uncut(network: nn.Module, reason: str) -> Cut:
    """Make the cut that shares nothing: the suffix is the whole network."""
    return Cut(PassThrough(), network, reason)


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name; a tied tensor appears under each of its names."""
    parameters = network.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(network.named_buffers(remove_duplicate=False))


def chosen_tensors(network: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors of these names; a ``UserError`` if the network has no such tensor."""
    tensors = named_tensors(network)
    for name in names:
        if name not in tensors:
            raise UserError(f"the network has no parameter or buffer {name!r}")
    return {name: tensors[name] for name in names}


class SingleInput(nn.Module):
    """A network as a function of its first argument: the others keep their default values."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Any:
        """Return the network's output."""
        return self.network(inputs)


class PassThrough(nn.Module):
    """The prefix that computes nothing."""

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """Return the inputs, as the one value that crosses the cut."""
        return (inputs,)


class NetworkTracer(fx.Tracer):
    """A tracer that records buffers, too, and leaves alone what timm lists as untraceable."""

    proxy_buffer_attributes = True  # else what is computed from a chosen buffer becomes a constant

    def __init__(self) -> None:
        functions: tuple[Any, ...] = ()
        self.untraceable: tuple[type[nn.Module], ...] = ()
        if "timm" in sys.modules:  # a network of timm cannot exist before timm is imported
            from timm.models._features_fx import get_notrace_functions, get_notrace_modules

            functions = tuple(get_notrace_functions())
            self.untraceable = tuple(get_notrace_modules())
        super().__init__(autowrap_functions=functions)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        """Check if a module is one node of the graph."""
        listed = isinstance(module, self.untraceable)
        return listed or super().is_leaf_module(module, qualified_name)


def split(network: nn.Module, graph: fx.Graph, chosen: set[int]) -> Cut:
    """Split a traced network into the part before and the part after the chosen tensors.

    Values that do not depend on the input (a reshaped scale, say) have no batch axis: they are
    computed again in the suffix instead of crossing the cut.
    """
    dependent: set[fx.Node] = set()
    from_input: set[fx.Node] = set()
    for node in graph.nodes:
        if dependent.intersection(node.all_input_nodes) or owns(network, node, chosen):
            dependent.add(node)
        if node.op == "placeholder" or from_input.intersection(node.all_input_nodes):
            from_input.add(node)
    shared = [n for n in graph.nodes if n not in dependent and n.op != "output"]
    end = next(node for node in graph.nodes if node.op == "output")
    after = dependent | {end}
    crossing = [n for n in shared if n in from_input and after.intersection(n.users)]

    before_graph, after_graph = fx.Graph(), fx.Graph()
    copied = copy_nodes(before_graph, shared, {})
    before_graph.output(tuple(copied[node] for node in crossing))
    entered = {node: after_graph.placeholder(node.name) for node in crossing}
    recomputed = [n for n in graph.nodes if n in after or n not in from_input]
    copy_nodes(after_graph, recomputed, entered)
    saves = any(node.op != "placeholder" for node in shared if node in from_input)
    reason = None if saves else "the first operation already uses one of the chosen tensors"
    return Cut(module_of(network, before_graph), module_of(network, after_graph), reason)


def owns(network: nn.Module, node: fx.Node, chosen: set[int]) -> bool:
    """Check if a node reads one of the chosen tensors itself."""
    if node.op not in ("call_module", "get_attr"):
        return False
    owner: Any = SingleInput(network)
    for step in str(node.target).split("."):
        owner = getattr(owner, step)
    tensors = named_tensors(owner).values() if isinstance(owner, nn.Module) else [owner]
    return any(id(tensor) in chosen for tensor in tensors)


def copy_nodes(
    graph: fx.Graph, nodes: Iterable[fx.Node], known: Mapping[fx.Node, fx.Node]
) -> dict[fx.Node, fx.Node]:
    """Copy nodes into another graph, under the names that the network gives its modules."""
    copied = dict(known)
    for node in nodes:
        copied[node] = graph.node_copy(node, lambda read: copied[read])
        if node.op in ("call_module", "get_attr"):
            copied[node].target = str(node.target).removeprefix(ROOT)
        if copied[node].kwargs.get("inplace") is True:
            copied[node].update_kwarg("inplace", False)
    return copied


def module_of(network: nn.Module, graph: fx.Graph) -> nn.Module:
    """Build a runnable module of a graph, without what the graph does not use."""
    module = fx.GraphModule(network, graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


@torch.no_grad()
@torch.random.fork_rng(devices=())  # a network with dropout left on draws random numbers
def is_exact(
    network: nn.Module, parts: Cut, chosen: Mapping[str, Tensor], example: Tensor
) -> bool:
    """Check that the parts give the network's output, for its own tensors and for changed ones.

    The changed tensors find values that tracing froze; the suffix runs twice on one prefix, which
    finds operations that overwrite what crosses the cut.
    """
    changed = {n: t * 1.25 + 0.01 if t.is_floating_point() else t for n, t in chosen.items()}
    values = parts.prefix(example)
    for tensors in (dict(chosen), changed, dict(chosen)):
        expected = functional_call(network, tensors, (example,))
        found = functional_call(parts.suffix, used_by(parts.suffix, tensors), values)
        atol = TOLERANCE * float(expected.abs().nan_to_num(0, 0, 0).max())
        if not torch.allclose(found, expected, rtol=0, atol=atol, equal_nan=True):
            return False
    return True


def used_by(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of the tensors that a module has."""
    present = named_tensors(module)
    return {name: tensor for name, tensor in tensors.items() if name in present}
