"""Our networks have the paper's parameters, take the images they say, and can be cut."""

import math

import pytest
import torch
from torch import nn

from paramdiff.networks.convnext_mini import ConvNeXtMini
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.registry import NETWORKS, build_network
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.networks.vit_mini import position_code
from paramdiff.scoring.split import cut

PUBLISHED = {  # the paper's Table 6: parameters, tensors, pixels per side
    "convnet_mini": (24_262, 16, 64),
    "mlp_mini": (66_970, 10, 64),
    "resnet_mini": (25_138, 20, 64),
    "vit_mini": (80_714, 50, 64),
    "convnext_mini": (74_970, 83, 64),
    "cnn_medium": (10_853, 10, 32),
}


def built(name, num_classes=10, shape=(3, 64, 64)):
    return build_network(NetworkSettings(name=name), num_classes, shape)


def size_of(name):
    return NETWORKS[name].size or 32


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_parameters_are_the_papers(name, published):
    num_parameters, num_tensors, size = published
    network = built(name, shape=(3, size, size))
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    assert len(network.state_dict()) == num_tensors
    assert not list(network.buffers()) or name == "vit_mini"  # all of it can be generated


def test_resnet20_is_the_papers():
    network = ResNet20()
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    gray = ResNet20(num_classes=7, in_channels=1).eval()
    with torch.no_grad():
        for side in (8, 32):
            assert gray(torch.randn(2, 1, side, side)).shape == (2, 7)


def test_the_layer_norms_of_convnet_mini_hold_most_of_it():
    norms = [m for m in built("convnet_mini").modules() if isinstance(m, nn.LayerNorm)]
    assert sum(p.numel() for norm in norms for p in norm.parameters()) == 20_992


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_parameter_has_a_finite_gradient(name, channels):
    size = size_of(name)
    network = built(name, 7, (channels, size, size))
    logits = network(torch.randn(3, channels, size, size))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert any(parameter.grad.ne(0).any() for parameter in network.parameters())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_rows_of_a_batch_do_not_see_each_other(name):
    size = size_of(name)
    network = built(name, shape=(3, size, size)).eval()
    images = torch.randn(4, 3, size, size)
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(network(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_scoring_can_cut_them(name):
    size = size_of(name)
    network = built(name, shape=(3, size, size))
    last = list(dict(network.named_parameters()))[-1]
    assert cut(network, [last], torch.randn(2, 3, size, size)).reason is None


def test_grey_images_are_repeated_for_cnn_medium():
    color, gray = built("cnn_medium", shape=(3, 32, 32)), built("cnn_medium", shape=(1, 32, 32))
    gray.load_state_dict(color.state_dict())
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(gray(images), color(images.expand(-1, 3, -1, -1)))


def test_the_position_code_tells_every_patch_apart():
    code = position_code()
    assert code.shape == (64, 64)
    assert torch.pdist(code).min() > 0.5
    torch.testing.assert_close(code.square().sum(1), torch.full((64,), 32.0))  # sin^2 + cos^2
    assert code[8 * 3 + 2, 0] == pytest.approx(math.sin(2))  # row 3, column 2, frequency 1
    assert code[8 * 3 + 2, 32] == pytest.approx(math.sin(3))


def test_convnext_mini_equals_timms():
    """The same tensors in the same order give the same logits."""
    timm_convnext = pytest.importorskip("timm.models.convnext").ConvNeXt
    theirs = timm_convnext(
        num_classes=10, depths=(1, 2, 2, 2), dims=(16, 32, 32, 32), head_init_scale=1.0
    )
    ours = ConvNeXtMini()

    def grouped(network):
        by_shape = {}
        for parameter in network.parameters():
            by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
        return by_shape

    assert {k: len(v) for k, v in grouped(ours).items()} == {
        k: len(v) for k, v in grouped(theirs).items()
    }
    with torch.no_grad():
        for shape, parameters in grouped(theirs).items():
            for mine, their in zip(grouped(ours)[shape], parameters, strict=True):
                their.uniform_(-0.2, 0.2)
                mine.copy_(their)
        images = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)
