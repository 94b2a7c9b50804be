"""The diffusion U-Net: DDPM's at its size, narrow ones for everything else."""

import pytest
import torch
from diffusers import UNet2DModel

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.networks import build_noise_predictor


def built(name, channels=3, size=32, **options):
    return build_noise_predictor(NetworkSettings(name=name, **options), channels, size)


def test_the_papers_network_has_the_published_size():
    """DDPM states 35.7 million parameters for CIFAR-10."""
    with torch.device("meta"):
        network = built("unet128")
    assert sum(p.numel() for p in network.parameters()) == 35_746_307
    assert network.state_dict()["conv_out.weight"].shape == (3, 128, 3, 3)


@pytest.mark.parametrize(("name", "channels", "size"), [("unet8", 3, 32), ("unet24", 1, 16)])
def test_noise_has_the_shape_of_the_image(name, channels, size):
    network = built(name, channels, size)
    images = torch.randn(2, channels, size, size)
    noise = network(images, torch.tensor([0, 999])).sample
    assert noise.shape == images.shape and noise.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (dict(name="unet"), "task.network.name: 'unet' is not 'unetN'"),
        (dict(name="unet12"), "a multiple of 8"),
        (dict(name="resnet20"), "'resnet20' is not 'unetN'"),
        (dict(name="unet8", size=28), "task.image_size: .* multiple of 8 pixels, found 28"),
        (dict(name="unet8", pretrained=True), "'unet8' has no published weights"),
        (dict(name="unet128", channels=1, pretrained=True), "images of 1 channels"),
    ],
)
def test_a_network_that_there_is_not(arguments, named):
    with pytest.raises(UserError, match=named) as caught:
        built(**arguments)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_that_cannot_be_fetched(monkeypatch):
    def fetch(name):
        raise OSError(f"{name} is not here")

    monkeypatch.setattr(UNet2DModel, "from_pretrained", fetch)
    settings = NetworkSettings(name="unet128", pretrained=True)
    with (
        torch.device("meta"),
        pytest.raises(UserError, match="fetched: google/ddpm-cifar10-32 is not here"),
    ):
        build_noise_predictor(settings, 3, 32, pretrained=True)
