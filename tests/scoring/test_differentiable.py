"""Logits and gradients equal the whole network's, whatever is kept."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from paramdiff.errors import UserError
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.scoring.differentiable import DifferentiableNetwork

from .test_predict import BranchOnValue, mlp, small_cnn


class GroupNormed(nn.Module):
    """Group normalization of values that have no gradient, as a function or as a layer."""

    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 6, 3), norm, nn.Linear(6, 5)
        self.scale = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x):
        x = self.conv(x)
        x = self.norm(x) if self.norm else F.group_norm(x, 3, self.scale)
        return self.head(F.relu(x).mean((2, 3)))


ROWS, TRUTH = torch.tensor([3, 0, 7, 3]), torch.tensor([0, 1, 2, 0])
CASES = {
    "last block": (ResNet20(num_classes=5), ["layer3.2.bn2.weight", "layer3.2.bn2.running_mean"]),
    "running variance": (small_cnn(), ["4.weight", "4.running_var"]),
    "everything": (small_cnn(), None),
    "untraceable": (BranchOnValue(), ["head.weight"]),
    "chain": (mlp(), ["3.weight"]),
    "group normalization": (GroupNormed(nn.GroupNorm(2, 6)), ["norm.weight", "norm.bias"]),
    "its function": (GroupNormed(None), ["scale"]),
}


def examples(network):
    shapes = {ResNet20: (3, 16, 16), BranchOnValue: (6,)}
    shape = shapes.get(type(network), (1, 8, 8))
    return torch.randn(9, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("memory_budget", [2**30, 0], ids=["kept", "computed again"])
@pytest.mark.parametrize("case", CASES)
def test_logits_and_slopes_are_those_of_the_network(case, memory_budget):
    network, names = CASES[case]
    network = copy.deepcopy(network).double().eval()
    base = network.state_dict()
    names = names or [name for name, tensor in base.items() if tensor.is_floating_point()]
    inputs = examples(network).double()
    parts = DifferentiableNetwork(network, base, names, inputs, memory_budget=memory_budget)
    chosen = {name: (1.1 * base[name] + 0.1).requires_grad_() for name in names}
    generator = torch.Generator().manual_seed(1)
    direction = {n: torch.randn(base[n].shape, generator=generator).double() for n in names}

    def of_network(step):
        moved = {name: chosen[name].detach() + step * direction[name] for name in names}
        return functional_call(network, moved, inputs[ROWS])

    logits = parts.logits(chosen, ROWS)
    torch.testing.assert_close(logits, of_network(0.0))
    slopes = torch.autograd.grad(F.cross_entropy(logits, TRUTH), list(chosen.values()))
    slope = sum((direction[n] * s).sum() for n, s in zip(names, slopes, strict=True))
    above, below = (F.cross_entropy(of_network(step), TRUTH) for step in (1e-6, -1e-6))
    torch.testing.assert_close(slope, (above - below) / 2e-6, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", [name for name in CASES if name != "untraceable"])
def test_what_lies_in_front_of_the_chosen_tensors_is_shared(case):
    """Chosen statistics of a BatchNorm layer are no exception."""
    network, names = CASES[case]
    base = network.state_dict()
    names = names or [name for name, tensor in base.items() if tensor.is_floating_point()]
    cut = DifferentiableNetwork(network, base, names, examples(network)).cut
    assert (cut.reason is None) == (case != "everything"), cut.reason


def test_no_examples_are_refused():
    network = mlp()
    with pytest.raises(UserError, match="no examples"):
        DifferentiableNetwork(network, network.state_dict(), ["3.weight"], torch.empty(0, 1, 8, 8))
