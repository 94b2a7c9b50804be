"""Detectors: built as torchvision builds them with weights, with and without the weights."""

import pytest
import torch

pytest.importorskip("torchvision")

import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.networks import build_detector, detector_names

SMALL = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def published(monkeypatch, state):
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)


@pytest.mark.parametrize("name", detector_names())
def test_the_untrained_network_is_torchvisions_with_weights(name, monkeypatch):
    with torch.device("meta"):
        ours = build_detector(NetworkSettings(name=name, pretrained=True), None)
        published(monkeypatch, ours.state_dict())
        models = torchvision.models
        own_name = name.removeprefix("torchvision/")
        theirs = models.get_model(own_name, weights=models.get_model_weights(own_name).DEFAULT)
    assert shapes(ours) == shapes(theirs)
    frozen = torchvision.ops.FrozenBatchNorm2d
    numbers = [
        [module.eps for module in network.modules() if isinstance(module, frozen)]
        for network in (ours, theirs)
    ]
    assert numbers[0] == numbers[1] and bool(numbers[0]) != name.endswith("_v2")


def test_without_weights_normalization_layers_are_trained():
    with torch.device("meta"):
        network = build_detector(NetworkSettings(name=SMALL), None)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.backbone.modules())


def test_published_weights_are_loaded(monkeypatch):
    settings = NetworkSettings(name=SMALL, pretrained=True)
    source = build_detector(settings, 64).state_dict()
    published(monkeypatch, source)
    network = build_detector(settings, 64, pretrained=True)
    assert network.transform.min_size == (64,) and network.transform.max_size == 107
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, source[name])


@pytest.mark.parametrize(
    ("error", "named"),
    [(OSError("no route to host"), "could not be fetched: no route"), (None, "do not fit: Error")],
)
def test_weights_that_cannot_be_had(error, named, monkeypatch):
    def fetch(*_, **__):
        if error:
            raise error
        return {"surplus": torch.zeros(1)}

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fetch)
    settings = NetworkSettings(name=SMALL, pretrained=True)
    with pytest.raises(UserError, match=named) as caught:
        build_detector(settings, 64, pretrained=True)
    assert str(caught.value).startswith("task.network.pretrained: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("torchvision/fcos_resnet50", "torchvision/fcos_resnet50_fpn"),
        ("torchvision/maskrcnn_resnet50_fpn", "torchvision/fasterrcnn_resnet50_fpn"),
    ],
)
def test_an_unknown_detector(name, nearest):
    with pytest.raises(UserError, match=f"unknown network {name!r}; the nearest is {nearest!r}"):
        build_detector(NetworkSettings(name=name), None)
