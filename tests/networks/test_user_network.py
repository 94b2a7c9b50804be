"""A user's own network: whatever builds it is called with what it accepts."""

import functools

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.registry import build_network


class Linear(nn.Module):
    def __init__(self, num_classes=4, width=6):
        super().__init__()
        self.layer = nn.Linear(width, num_classes)

    def forward(self, rows):
        return self.layer(rows)


class Named(Linear):
    def __init__(self, input_shape, *, num_classes):
        super().__init__(num_classes, *input_shape)


class Configured(Linear):
    def __init__(self, config=None, **others):
        super().__init__(**others)


class Alone(nn.Module):
    weight = nn.Parameter(torch.ones(6, 4))

    def forward(self, rows):
        return rows @ self.weight


class Factory:
    def __call__(self, num_classes):
        return Linear(num_classes)

    def method(self, classes, shape):
        return Linear(classes, *shape)


def nothing():
    return Linear()


def positions(n, shape):
    return Linear(n, *shape)


def only_positions(n, shape, /):
    return Linear(n, *shape)


def any_positions(*both):
    return positions(*both)


def any_names(**both):
    return Named(**both)


def ignores(*_, **__):
    return Linear()


instance = Linear()
partial = functools.partial(Linear, width=6)
partial_first = functools.partial(positions, 4)
short = lambda: Linear()  # noqa: E731
longer = lambda k, s: Linear(k, *s)  # noqa: E731
factory = Factory()

BUILT = """Linear Named Configured Alone nothing positions only_positions any_positions any_names
ignores instance partial short longer factory factory.method""".split()


@pytest.mark.parametrize("name", BUILT)
def test_what_builds_a_network(name):
    network = build_network(NetworkSettings(name=f"{__name__}:{name}"), 4, (6,))
    assert isinstance(network, nn.Module)
    assert network(torch.zeros(2, 6)).shape == (2, 4)


def test_a_network_that_is_there_is_copied():
    name = NetworkSettings(name=f"{__name__}:instance")
    network = build_network(name, 4, (6,))
    with torch.no_grad():
        network.layer.weight.zero_()
    assert instance.layer.weight.abs().sum() > 0
    assert build_network(name, 4, (6,)).layer.weight.equal(instance.layer.weight)


number = 3


def one_unknown(width):
    return Linear()


def three(a, b, c):
    return Linear()


def swapped(shape, num_classes):
    return Linear(num_classes, *shape)


def fails():
    return {}["weights"]


def gives_none():
    return None


class FailsLater(Linear):
    def forward(self, rows):
        return {}["rows"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one_unknown", "(num_classes, input_shape) or of no arguments, found one_unknown(width)"),
        ("three", "found three(a, b, c)"),
        ("swapped", "found swapped(shape, num_classes)"),
        ("partial_first", "found partial_first(shape)"),
        ("number", "but is int"),
        ("fails", "failed: KeyError: 'weights' ("),
        ("gives_none", "must return a torch module, not NoneType"),
        ("FailsLater", "cannot take inputs of shape (2, 6): 'rows' ("),
    ],
)
def test_what_cannot_build_one_is_told_in_one_line(name, found):
    with pytest.raises(UserError) as raised:
        build_network(NetworkSettings(name=f"{__name__}:{name}"), 4, (6,))
    told = str(raised.value)
    assert told.startswith("task.network.name: ") and found in told and "\n" not in told


def test_other_numbers_of_classes_and_inputs_are_told():
    with pytest.raises(UserError, match="has 4 classes, but the data have 5"):
        build_network(NetworkSettings(name=f"{__name__}:nothing"), 5, (6,))
    with pytest.raises(UserError, match=r"cannot take inputs of shape \(2, 7\)"):
        build_network(NetworkSettings(name=f"{__name__}:nothing"), 4, (7,))


def test_a_dotted_name_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text("")
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=r"is it mynet:build\?$"):
        build_network(NetworkSettings(name="mynet.build"), 4, (6,))
