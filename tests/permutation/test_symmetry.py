"""What is found from the graph leaves the function alone, and is all that there is."""

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.registry import NETWORKS
from paramdiff.networks.small import MLP
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.permutation.symmetry import find_symmetries
from tests.permutation.networks import (
    Attending,
    Concatenating,
    Grouped,
    Ranking,
    Weighing,
    layout_of,
    outputs,
    random_vector,
    sizes,
    symmetries_of,
)

VIT_LAYER = [*[8] * 8, 64]  # queries with keys and values of each of 4 heads, the perceptron
KNOWN = {  # residual streams first where they begin
    "resnet20": [16, 16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64],
    "digits_cnn": [16, 32, 64],
    "convnet_mini": [8, 8, 4, 16],
    "mlp_mini": [64, 16],
    "resnet_mini": [8, 4, 4, 16],
    "vit_mini": [*VIT_LAYER * 4, *[(4, 8, 8)] * 4],  # its position code fixes the stream
    "convnext_mini": [16, 64, 32, 128, 128, 32, 128, 128, 32, 128, 128],
    "cnn_medium": [16, 32, 15, 20],
}


def assert_function_is_kept(network, symmetries, shape):
    """Shuffled units compute the same; a shuffle of one tensor alone would not."""
    generator = torch.Generator().manual_seed(1)
    vector, inputs = random_vector(network, generator), torch.randn(3, *shape)
    expected = outputs(network, vector, inputs)
    shuffled = symmetries.permute_randomly(vector, generator)
    assert (shuffled != vector).float().mean() > 0.3
    tolerance = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(
        outputs(network, shuffled, inputs), expected, rtol=0, atol=tolerance
    )
    for group in symmetries.groups:
        partly = vector.clone()
        place, order = group.classes[0][0], group.random_permutation(generator).items
        place.of(partly)[:, place.positions.flatten()] = place.of(vector)[
            :, place.positions[order].flatten()
        ]
        is_whole = sum(map(len, group.classes)) == 1  # queries and keys without biases
        if not is_whole and not torch.equal(partly, vector):
            assert (outputs(network, partly, inputs) - expected).abs().max() > tolerance


@pytest.mark.parametrize("name", list(NETWORKS))
def test_hand_made_networks(name):
    size = NETWORKS[name].size or 16
    network = NETWORKS[name].build(num_classes=10, in_channels=3)
    found = symmetries_of(network, (3, size, size))
    assert sizes(found) == KNOWN[name]
    assert_function_is_kept(network, found, (3, size, size))


OTHERS = {
    "perceptron": (lambda: MLP(6, 3), (6,), [32, 32]),
    "grouped": (
        lambda: Grouped(nn.BatchNorm2d(24)),
        (3, 8, 8),
        [*[3] * 4, *[6] * 4, 6, (4, 3, 6)],
    ),
    "one norm per convolution's group": (
        lambda: Grouped(nn.GroupNorm(4, 24)),
        (3, 8, 8),
        [*[3] * 4, *[6] * 4, 6],
    ),
    "depth-wise": (
        lambda: Grouped(nn.PReLU(24), groups=12),
        (3, 8, 8),
        [*[2] * 12, 6, (12, 1, 2)],
    ),
    "attention": (Attending, (5, 4), [8, *[4] * 4, (2, 4, 4)]),
    "concatenation": (Concatenating, (3, 5, 5), [4, 6, 7]),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_structures(name):
    build, shape, expected = OTHERS[name]
    network = build()
    found = symmetries_of(network, shape)
    assert sizes(found) == expected
    assert_function_is_kept(network, found, shape)


def test_a_vision_transformer_of_timm():
    timm = pytest.importorskip("timm")
    network = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=3, num_classes=4
    )
    found = symmetries_of(network, (3, 16, 16))
    layer = [*[4] * 6, 48]
    assert sizes(found) == [12, *layer * 2, (3, 4, 4), (3, 4, 4)]
    assert_function_is_kept(network, found, (3, 16, 16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num_groups"), [("resnet18", 12), ("vit_tiny_patch16_224", 97), ("resnext26ts", 135)]
)
def test_networks_of_timm(name, num_groups):
    timm = pytest.importorskip("timm")
    options = {"img_size": 32} if name.startswith("vit") else {}
    network = timm.create_model(name, num_classes=10, **options)
    found = symmetries_of(network, (3, 32, 32))
    assert len(found.groups) == num_groups
    assert_function_is_kept(network, found, (3, 32, 32))


def test_the_network_is_not_changed():
    network = MLP(6, 3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    symmetries_of(network, (6,))
    assert network.training
    assert all(torch.equal(before[name], own) for name, own in network.state_dict().items())


def test_what_is_not_understood_is_named():
    with pytest.raises(
        UserError, match=r"^alignment: Ranking.forward: channels cannot be traced through 'sort'"
    ):
        symmetries_of(Ranking(), (4,))
    inner = nn.Sequential(nn.Linear(4, 4), Ranking())
    with pytest.raises(UserError, match=r"module '1' \(Ranking\): .* 'sort'"):
        symmetries_of(inner, (4,))


def test_constants_that_differ_between_units_fix_them():
    with pytest.raises(UserError, match="Weighing has no permutation symmetries"):
        symmetries_of(Weighing(), (4,))


def test_a_single_layer_has_no_units():
    with pytest.raises(UserError, match="Linear has no permutation symmetries"):
        symmetries_of(nn.Linear(4, 3), (4,))


def test_a_part_of_the_network_cannot_be_aligned():
    network = MLP(6, 3)
    state = network.state_dict()
    layout = ParameterLayout.of(state, [name for name in state if name != "fc2.bias"])
    with pytest.raises(
        UserError, match=r"'fc2\.bias' is not selected; .*every tensor must be selected"
    ):
        find_symmetries(network, layout, torch.randn(2, 6))


def test_shared_tensors_are_refused():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    with pytest.raises(UserError, match=r"'0\.weight' and '2\.weight' are one tensor"):
        find_symmetries(network, layout_of(network), torch.randn(2, 4))


class Casting(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)).bfloat16().float())


class Frozen(Casting):
    def forward(self, x):
        with torch.no_grad():
            x = torch.relu(self.first(x))
        return self.last(x)


class Mixed(Casting):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.last(torch.relu(self.first(x)))


class Answering(Casting):
    def forward(self, x):
        return {"logits": super().forward(x)}


def test_values_may_be_cast():
    assert [group.size for group in symmetries_of(Casting(), (4,)).groups] == [6]


@pytest.mark.parametrize("network", [Frozen, Mixed, Answering])
def test_unusual_graphs_are_refused_in_words(network):
    with pytest.raises(UserError, match=rf"^alignment: .*{network.__name__}.*\bsupported|traced"):
        symmetries_of(network(), (4,))


def test_a_graph_that_depends_on_values_cannot_be_recorded():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(UserError, match="the graph of Branching cannot be recorded"):
        symmetries_of(Branching(), (4,))
