"""The cut network equals the network, with its own tensors and with others."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from paramdiff.errors import UserError
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.networks.small import DigitsNetwork
from paramdiff.scoring.split import cut, used_by
from paramdiff.scoring.stacked import overwriting


def changed(network, names):
    tensors = network.state_dict()
    return {n: tensors[n] * 0.9 + 0.05 * torch.rand_like(tensors[n]) for n in names}


def assert_equal_parts(network, names, inputs):
    """suffix(prefix(x)) with changed tensors is the network with changed tensors, twice."""
    network.eval()
    parts = cut(network, names, inputs[:2])
    tensors = changed(network, names)
    with torch.no_grad():
        expected = functional_call(network, tensors, (inputs,))
        values = parts.prefix(inputs)
        before = copy.deepcopy(values)
        suffixes = [parts.suffix, parts.suffix]
        if parts.reason is None:
            suffixes.append(overwriting(parts.suffix))
        for suffix in suffixes:
            found = functional_call(suffix, used_by(suffix, tensors), values)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    tensors = [(v, b) for v, b in zip(values, before, strict=True) if isinstance(v, torch.Tensor)]
    assert all(torch.equal(value, original) for value, original in tensors)
    return parts, [value for value, _ in tensors]


def last_norms(network, kind, count=2):
    norms = [name for name, module in network.named_modules() if isinstance(module, kind)]
    return [f"{name}.{part}" for name in norms[-count:] for part in ("weight", "bias")]


def test_resnet20_is_cut_before_its_last_block():
    network = ResNet20()
    assert sum(p.numel() for p in network.parameters()) == 269_722
    names = last_norms(network, nn.BatchNorm2d)
    parts, values = assert_equal_parts(network, names, torch.randn(3, 3, 32, 32))
    assert parts.reason is None
    assert [tuple(value.shape) for value in values] == [(3, 64, 8, 8)] * 2
    assert not any(name.startswith("layer1") for name, _ in parts.suffix.named_parameters())
    assert not used_by(parts.prefix, dict.fromkeys(names))


def num_operations(module, inputs):
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def test_most_of_the_quickstarts_network_lies_before_the_cut():
    """By hand: 9,216 + 32,768 products before it, 8,192 + 640 after it."""
    network, images = DigitsNetwork().eval(), torch.randn(4, 1, 8, 8)
    parts, values = assert_equal_parts(network, last_norms(network, nn.BatchNorm2d), images)
    assert [tuple(value.shape) for value in values] == [(4, 32, 2, 2)]
    assert num_operations(network, (images,)) == 2 * 4 * 50_816
    assert num_operations(parts.suffix, values) == 2 * 4 * 8_832


def test_torchvision_resnet18_with_inplace_activations():
    models = pytest.importorskip("torchvision.models")
    network = models.resnet18(num_classes=10)
    names = last_norms(network, nn.BatchNorm2d)
    parts, _ = assert_equal_parts(network, names, torch.randn(3, 3, 32, 32))
    assert parts.reason is None
    assert network.relu.inplace


@pytest.mark.parametrize(
    "names", [["norm.weight", "norm.bias"], ["blocks.11.norm2.weight"], ["cls_token"]]
)
def test_vision_transformer(names):
    timm = pytest.importorskip("timm")
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, num_classes=10, pretrained=False
    )
    parts, values = assert_equal_parts(network, names, torch.randn(3, 3, 32, 32))
    assert parts.reason is None
    assert all(len(value) == 3 for value in values)


def test_input_independent_values_are_computed_again():
    """ConvNeXt reshapes its layer scale: that has no batch axis and must not cross the cut."""
    timm = pytest.importorskip("timm")
    network = timm.create_model("convnext_atto", num_classes=10, pretrained=False)
    names = ["stages.3.blocks.1.norm.weight", "head.norm.bias", "stages.3.blocks.1.gamma"]
    parts, values = assert_equal_parts(network, names, torch.randn(3, 3, 32, 32))
    assert parts.reason is None
    assert all(len(value) == 3 for value in values)


def test_timm_modules_that_do_not_trace():
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_b0", num_classes=10, pretrained=False)
    assert_equal_parts(network, ["bn2.weight", "bn2.running_var"], torch.randn(2, 3, 64, 64))


class Scaled(nn.Module):
    """Computes with a buffer, a tied weight and an in-place method."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 3)
        self.register_buffer("scale", torch.rand(6) + 0.5)

    def forward(self, x, factor=None):
        if factor is not None:
            x = x * factor
        x = F.relu(self.second(self.first(x)), inplace=True)
        x += 1
        return self.head(x * (self.scale * 2))


@pytest.mark.parametrize("names", [["scale"], ["head.bias"], ["second.weight"], ["first.bias"]])
def test_buffers_tied_weights_and_optional_arguments(names):
    parts, _ = assert_equal_parts(Scaled(), names, torch.randn(4, 6))
    assert (parts.reason is None) == (names[0] in ("scale", "head.bias"))


def test_everything_chosen_shares_nothing():
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    parts, values = assert_equal_parts(network, list(network.state_dict()), torch.randn(4, 6))
    assert "first operation" in parts.reason
    assert tuple(values[0].shape) == (4, 6)


class BranchOnValue(nn.Module):
    """Cannot be traced: what it does depends on the values."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.body(x)
        return self.head(x if x.sum() > 0 else -x)


class FrozenByTracing(BranchOnValue):
    """Reads a parameter past the module's attributes: tracing keeps its value of that day."""

    def forward(self, x):
        return self.head(self.body(x)) * dict(self.named_parameters())["head.bias"].sum().item()


class OverwritesItsCache(BranchOnValue):
    """Adds to what crosses the cut."""

    def forward(self, x):
        return self.head(self.body(x).add_(self.head.bias.sum()))


@pytest.mark.parametrize(
    "network, reason",
    [
        (BranchOnValue(), "cannot trace"),
        (FrozenByTracing(), "do not reproduce"),
        (OverwritesItsCache(), "do not reproduce"),
        (nn.Linear(6, 3), "single layer"),
    ],
)
def test_falls_back_to_the_whole_network_and_says_why(network, reason):
    names = ["bias" if isinstance(network, nn.Linear) else "head.bias"]
    parts, values = assert_equal_parts(network, names, torch.randn(4, 6))
    assert reason in parts.reason
    assert len(values) == 1


def test_never_changes_the_network():
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).train()
    before = copy.deepcopy(network.state_dict())
    parts = cut(network, ["2.weight"], torch.randn(4, 6))
    assert network.training and network[1].inplace
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    own = {id(parameter) for parameter in network.parameters()}
    assert not own & {id(parameter) for parameter in parts.suffix.parameters()}


def test_unknown_name():
    with pytest.raises(UserError, match=r"'1\.gamma'"):
        cut(nn.Sequential(nn.Linear(6, 5)), ["1.gamma"], torch.randn(4, 6))
