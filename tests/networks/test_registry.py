"""Networks by name: ours, those of the libraries, the user's; and refusals in one line."""

import urllib.error

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.libraries import image_statistics, load_but_the_head
from paramdiff.networks.logits import num_logits
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.registry import build_network


def refusal(name, num_classes=10, shape=(3, 32, 32), pretrained=False):
    with pytest.raises(UserError) as caught:
        settings = NetworkSettings(name=name, pretrained=pretrained)
        build_network(settings, num_classes, shape, pretrained=pretrained)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnt20", "resnet20"),
        ("convnet-mini", "convnet_mini"),
        ("vit_tiny_patch16_225", "vit_tiny_patch16_224"),
        ("torchvision/resnt18", "torchvision/resnet18"),
    ],
)
def test_unknown_networks_are_told_the_nearest(name, nearest):
    pytest.importorskip("timm")
    assert refusal(name) == (
        f"task.network.name: unknown network {name!r}; the nearest is {nearest!r}, and one of "
        "your own is module:function or path/to/file.py:function"
    )


def test_unknown_weights_are_told_the_nearest():
    pytest.importorskip("timm")
    assert "'resnet18.a1_in2k'; the nearest is 'resnet18.a1_in1k'" in refusal("resnet18.a1_in2k")


@pytest.mark.parametrize(("name", "size"), [("vit_mini", 64), ("cnn_medium", 32)])
def test_other_image_sizes_are_refused(name, size):
    assert refusal(name, shape=(3, 48, 48)) == (
        f"task.image_size: {name!r} takes images of {size}x{size} pixels, found 48x48"
    )


@pytest.mark.parametrize("shape", [(1, 3, 8), (3, 8, 3)])
def test_images_too_small_for_a_stride_are_refused(shape):
    assert refusal("digits_cnn", shape=shape) == (
        "task.image_size: 'digits_cnn' takes images of 4x4 pixels or more, "
        f"found {shape[1]}x{shape[2]}"
    )
    build_network(NetworkSettings(name="digits_cnn"), 3, (1, 4, 4))(torch.randn(2, 1, 4, 4))


def test_images_and_vectors_are_not_mistaken():
    assert "takes vectors" in refusal("mlp")
    assert "takes images" in refusal("resnet20", shape=(13,))
    assert "takes images" in refusal("test_resnet", shape=(13,))
    assert build_network(NetworkSettings(name="mlp"), 3, (13,))(torch.randn(2, 13)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("test_resnet", (3, 64, 64)),
        ("test_resnet", (1, 28, 28)),
        ("test_vit", (3, 64, 64)),  # made for 160 pixels
        ("torchvision/shufflenet_v2_x0_5", (3, 64, 64)),
    ],
)
def test_the_libraries_networks_have_the_tasks_classes(name, shape):
    pytest.importorskip("timm")
    network = build_network(NetworkSettings(name=name, pretrained=True), 7, shape).eval()
    assert network(torch.randn(2, *shape)).shape == (2, 7)


def test_statistics_are_those_of_the_published_weights():
    pytest.importorskip("timm")
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    half = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert image_statistics("resnet50") == imagenet
    assert image_statistics("convnext_base") == imagenet
    assert image_statistics("vit_base_patch16_224") == half
    assert image_statistics("torchvision/resnet18") == image_statistics("resnet20") == imagenet


# ---- published weights


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Timm's cache, without a network."""
    pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def store(hub, tensors):
    from safetensors.torch import save_file

    folder = hub / "models--timm--test_resnet.r160_in1k"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0" * 40)
    save_file(tensors, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_timms_weights_are_taken_but_for_the_head(hub):
    import timm

    published = timm.create_model("test_resnet", num_classes=1000).state_dict()
    store(hub, published)
    settings = NetworkSettings(name="test_resnet", pretrained=True)
    started = build_network(settings, 7, (3, 64, 64), pretrained=True).state_dict()
    fresh = build_network(settings, 7, (3, 64, 64)).state_dict()
    names = [name for name in published if not name.startswith("fc.")]
    assert all(started[name].equal(published[name]) for name in names)
    assert not fresh["conv1.0.weight"].equal(published["conv1.0.weight"])
    assert started["fc.weight"].shape[0] == 7


def test_timms_weights_that_cannot_be_fetched(hub):
    message = refusal("test_resnet", pretrained=True)
    assert message.startswith("task.network.pretrained: the weights of 'test_resnet' are not in ")
    assert "could not be fetched" in message


def test_timms_weights_that_do_not_fit(hub):
    import timm

    published = timm.create_model("test_resnet", num_classes=1000).state_dict()
    path = store(hub, {**published, "conv1.0.weight": torch.ones(1, 3, 3, 3)})
    message = refusal("test_resnet", pretrained=True)
    assert "do not fit" in message and "conv1.0.weight" in message
    path.write_bytes(b"no tensors")
    assert "do not fit" in refusal("test_resnet", pretrained=True)


@pytest.fixture
def torch_hub(tmp_path, monkeypatch):
    """Torch's cache, without a network."""
    pytest.importorskip("torchvision")

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    return tmp_path / "checkpoints"


def test_torchvisions_weights_are_taken_but_for_the_head(torch_hub):
    from torchvision import models

    name = "shufflenet_v2_x0_5"
    published = models.get_model(name).state_dict()
    torch_hub.mkdir(parents=True)
    url = models.get_model_weights(name).DEFAULT.url
    torch.save(published, torch_hub / url.rsplit("/", 1)[-1])
    settings = NetworkSettings(name=f"torchvision/{name}", pretrained=True)
    started = build_network(settings, 7, (3, 64, 64), pretrained=True).state_dict()
    names = [name for name in published if not name.startswith("fc.")]
    assert all(started[name].equal(published[name]) for name in names)
    assert started["fc.weight"].shape[0] == 7


def test_torchvisions_weights_that_cannot_be_fetched(torch_hub):
    message = refusal("torchvision/resnet18", pretrained=True)
    assert "'torchvision/resnet18' are not in " in message and "Name or service" in message


def test_weights_must_fit_but_for_the_head():
    network = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    good = {**network.state_dict(), "1.weight": torch.ones(9, 5), "1.bias": torch.ones(9)}
    load_but_the_head("it", network, {**good, "0.bias": torch.ones(5)}, 9, 3)
    assert network[0].bias.eq(1).all() and not network[1].bias.eq(1).any()
    for wrong, found in [
        ({**good, "0.bias": torch.ones(9)}, "'0.bias' has shape (9,), but (5,) in the network"),
        ({**good, "2.bias": torch.ones(9)}, "no '2.bias' in the network"),
        ({k: v for k, v in good.items() if k != "0.bias"}, "no '0.bias' in the weights"),
    ]:
        with pytest.raises(UserError) as caught:
            load_but_the_head("it", network, wrong, 9, 3)
        assert found in str(caught.value)


@pytest.mark.parametrize("name", ["resnet20", "users_networks:linear"])
def test_only_the_libraries_have_published_weights(name):
    assert refusal(name, pretrained=True).startswith("task.network.pretrained: ")


# ---- the user's own


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's, on the path."""
    (tmp_path / "users_networks.py").write_text(
        "from torch import nn\n"
        "def linear(num_classes, input_shape):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))\n"
        "def ten(num_classes, input_shape):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))\n"
        "def maps(num_classes, input_shape):\n"
        "    return nn.Conv2d(3, num_classes, 1)\n"
        "def gray(num_classes, input_shape):\n"
        "    return nn.Conv2d(1, num_classes, 1)\n"
        "def nothing(num_classes, input_shape):\n"
        "    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_images_too_small_for_a_librarys_network():
    pytest.importorskip("torchvision")
    message = refusal("torchvision/squeezenet1_1", shape=(3, 8, 8))
    assert "torchvision/squeezenet1_1: the network cannot take inputs of shape (1, 3, 8" in message


def test_a_network_that_looks_at_values_is_not_refused_without_them():
    """Its forward pass raises on the meta device; only one with values can tell."""

    class LooksAtValues(nn.Linear):
        def forward(self, x):
            return super().forward(x if x.sum().item() > 0 else -x)

    with torch.device("meta"), pytest.raises(RuntimeError, match="meta") as caught:
        num_logits("it", LooksAtValues(3, 2), torch.zeros(1, 3))
    assert not isinstance(caught.value, UserError)
    assert num_logits("it", LooksAtValues(3, 2), torch.zeros(1, 3)) == 2


@pytest.mark.usefixtures("module")
def test_a_users_function():
    network = build_network(NetworkSettings(name="users_networks:linear"), 7, (3, 8, 8))
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 7)
    assert network.training


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("ten", "has 10 classes, but the data have 7"),
        ("maps", "return logits [examples, classes], but returns (2, 7, 8, 8)"),
        ("gray", "cannot take inputs of shape (2, 3, 8, 8)"),
        ("nothing", "must return a torch module, not NoneType"),
        ("missing", "cannot be imported"),
    ],
)
def test_a_users_function_that_does_not_suit(function, found):
    assert found in refusal(f"users_networks:{function}", 7, (3, 8, 8))
