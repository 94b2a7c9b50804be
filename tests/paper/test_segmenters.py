"""Networks for segmentation: built as torchvision builds them with weights."""

import pytest
import torch

pytest.importorskip("torchvision")

import torchvision
from torchvision.models import WeightsEnum

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.networks import build_segmenter, segmenter_names

SMALL = "torchvision/lraspp_mobilenet_v3_large"


@pytest.mark.parametrize("name", segmenter_names())
def test_the_untrained_network_is_torchvisions_with_weights(name, monkeypatch):
    with torch.device("meta"):
        ours = build_segmenter(NetworkSettings(name=name)).state_dict()
        monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: ours)
        models = torchvision.models
        own_name = name.removeprefix("torchvision/")
        theirs = models.get_model(own_name, weights=models.get_model_weights(own_name).DEFAULT)
    theirs = theirs.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_published_weights_are_loaded(monkeypatch):
    settings = NetworkSettings(name=SMALL, pretrained=True)
    source = build_segmenter(settings).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: source)
    network = build_segmenter(settings, pretrained=True)
    assert all(torch.equal(t, source[name]) for name, t in network.state_dict().items())
    logits = network.eval()(torch.zeros(1, 3, 32, 48))["out"]
    assert logits.shape == (1, 21, 32, 48)


def test_an_unknown_network():
    with pytest.raises(UserError, match="nearest is 'torchvision/fcn_resnet50'"):
        build_segmenter(NetworkSettings(name="torchvision/fcn_resnet5"))
