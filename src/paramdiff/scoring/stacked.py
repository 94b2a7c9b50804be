"""Let activations overwrite what they read, where nothing else reads it.

Fresh memory for every activation costs more than the activation itself: on CPU, page faults were
half the time of a small suffix. Only results of layers that always make a new tensor are
overwritten, so what crosses the cut stays as it is.
"""

import copy
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional as F

from paramdiff.scoring.split import named_tensors

FRESH_MODULES = (
    nn.Linear,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
)
FRESH_FUNCTIONS = {operator.add}
SUFFIX = "_inplace"


def overwriting(module: fx.GraphModule) -> fx.GraphModule:
    """Build a graph with the same results and the same tensors that allocates less.

    Args:
        module: a graph without in-place operations.

    Returns:
        Another graph on the same modules; activations that may overwrite their input are copies.
    """
    result = fx.GraphModule(module, copy.deepcopy(module.graph))
    for node in result.graph.nodes:
        if not reads_fresh_memory(result, node):
            continue
        if node.op == "call_function" and "inplace" in node.kwargs:
            node.update_kwarg("inplace", True)
        elif node.op == "call_module" and hasattr(
            layer := result.get_submodule(node.target), "inplace"
        ):
            own: Any = copy.copy(layer)
            own.inplace = True
            node.target = f"{node.target}{SUFFIX}"
            result.add_submodule(node.target, own)
    result.delete_all_unused_submodules()
    result.recompile()
    return result


def reads_fresh_memory(module: fx.GraphModule, node: fx.Node) -> bool:
    """Check if a node is the only reader of a tensor that a layer has just made."""
    if len(node.all_input_nodes) != 1:
        return False
    (source,) = node.all_input_nodes
    if len(source.users) != 1:
        return False
    if source.op == "call_module":
        return isinstance(module.get_submodule(str(source.target)), FRESH_MODULES)
    return source.op == "call_function" and source.target in FRESH_FUNCTIONS


STACK_BYTES = 2**22  # activations of one group of sets; smaller groups call more operations
SMALLEST_GROUP = 4
ELEMENTWISE_MODULES = (
    nn.Dropout,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Tanh,
)
ELEMENTWISE_FUNCTIONS = {
    F.elu,
    F.gelu,
    F.leaky_relu,
    F.relu,
    F.silu,
    operator.add,
    torch.relu,
    torch.sigmoid,
    torch.tanh,
}


class SequentialEvaluator:
    """Evaluates a module for one set of tensors at a time."""

    group_size = 1

    def __init__(self, module: nn.Module, names: Collection[str]) -> None:
        self.module = module
        own = named_tensors(module)
        self.names = tuple(name for name in names if name in own)

    def __call__(self, group: Sequence[Mapping[str, Tensor]], values: tuple) -> Tensor:
        """Logits ``[1, B, K]`` of a group of one set."""
        (tensors,) = group
        chosen = {name: tensors[name] for name in self.names}
        return functional_call(self.module, chosen, values).unsqueeze(0)


class BatchedEvaluator:
    """Evaluates a chain of linear layers for a group of sets at once."""

    def __init__(self, module: fx.GraphModule, names: Collection[str], group_size: int) -> None:
        self.module = module
        self.group_size = group_size
        own = named_tensors(module)
        self.aliases = [(n, [a for a in own if own[a] is own[n]]) for n in names if n in own]

    def __call__(self, group: Sequence[Mapping[str, Tensor]], values: tuple) -> Tensor:
        """Logits ``[S, B, K]`` of a group of ``S`` sets."""
        stacked: dict[str, Tensor] = {}
        for name, aliases in self.aliases:  # tied tensors have several names
            stacked |= dict.fromkeys(aliases, torch.stack([tensors[name] for tensors in group]))
        logits = StackedInterpreter(self.module, stacked).run(*(value.T for value in values))
        return logits.expand(len(group), *logits.shape[-2:]).transpose(1, 2)


class StackedInterpreter(fx.Interpreter):
    """Runs a graph features first, ``[F, B]`` or ``[S, F, B]``, with stacked parameters."""

    def __init__(self, module: fx.GraphModule, stacked: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self.stacked = stacked

    def call_module(self, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """One layer: a matrix product where it is linear, itself where it is elementwise."""
        layer = self.fetch_attr(target)
        if not isinstance(layer, nn.Linear):
            return layer(*args, **kwargs)
        product = torch.matmul(self.stacked.get(f"{target}.weight", layer.weight), args[0])
        bias = self.stacked.get(f"{target}.bias", layer.bias)
        if bias is None:
            return product
        bias = bias.unsqueeze(-1)
        return product + bias if bias.dim() > product.dim() else product.add_(bias)


def evaluator_of(
    module: nn.Module, names: Collection[str], values: tuple, batch_size: int
) -> SequentialEvaluator | BatchedEvaluator:
    """Choose how to evaluate the part of a network after the cut.

    The rule: stacked, if the part consists of linear layers on ``[B, F]`` and elementwise
    functions, and the activations of at least four sets fit ``STACK_BYTES``; else one by one. On
    CPU, stacking anything with convolutions in it was measured slower than one by one.

    Args:
        module: the part after the cut.
        names: the tensors that differ between sets.
        values: what crosses the cut for a few examples.
        batch_size: the examples in one call.

    Returns:
        A callable from a group of sets and the crossing values to logits ``[S, B, K]``.
    """
    if not isinstance(module, fx.GraphModule):
        return SequentialEvaluator(module, names)
    module = overwriting(module)
    if is_chain(module, values):
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        features = sum(layer.out_features for layer in layers)
        group_size = STACK_BYTES // max(1, 4 * features * batch_size)
        if group_size >= SMALLEST_GROUP:
            return BatchedEvaluator(module, names, group_size)
    return SequentialEvaluator(module, names)


def is_chain(module: fx.GraphModule, values: tuple) -> bool:
    """Check if a graph consists of linear layers on ``[B, F]`` and elementwise functions."""
    for node in module.graph.nodes:
        if node.op == "call_module":
            allowed = type(module.get_submodule(node.target)) in (nn.Linear, *ELEMENTWISE_MODULES)
        elif node.op == "call_function":
            allowed = node.target in ELEMENTWISE_FUNCTIONS
        else:
            allowed = node.op in ("placeholder", "output")
        if not allowed:
            return False
    return all(isinstance(value, Tensor) and value.dim() == 2 for value in values)
