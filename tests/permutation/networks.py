"""Small networks whose symmetries are known, and networks as vectors."""

import torch
from torch import nn
from torch.func import functional_call

from paramdiff.parameters.layout import ParameterLayout
from paramdiff.permutation.symmetry import find_symmetries


class Grouped(nn.Module):
    """A grouped convolution between two plain ones, a normalization and a gate."""

    def __init__(self, norm, groups=4):
        super().__init__()
        self.before = nn.Conv2d(3, 12, 3)
        self.grouped = nn.Conv2d(12, 24, 3, groups=groups)
        self.norm = norm
        self.after = nn.Conv2d(24, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.grouped(torch.relu(self.before(x)))))
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return self.head(self.after(x).mean((2, 3)))


class Attending(nn.Module):
    """torch's own attention, which merges heads with the batch, and a residual sum."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embedding(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


class Concatenating(nn.Module):
    """Two branches side by side, flattened; bare matrices instead of layers."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 6, 3)
        self.matrix = nn.Parameter(torch.randn(90, 7))
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        x = torch.cat([torch.tanh(self.one(x)), torch.tanh(self.other(x))], 1)
        return self.head((x.flatten(1) @ self.matrix).clamp(min=0))


class Ranking(nn.Module):
    """Sorts its units: not understood."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.second(self.first(x).sort(1).values)


class Weighing(nn.Module):
    """Looks as if its units were interchangeable, but weighs them by their place."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("places", torch.arange(6.0), persistent=False)

    def forward(self, x):
        return self.second(self.first(x) * self.places)


def layout_of(network):
    state = network.state_dict()
    return ParameterLayout.of(state, list(state))


def random_vector(network, generator):
    """Values like trained ones: running variances positive, no two units alike."""
    layout = layout_of(network)
    vector = layout.flatten(network.state_dict())
    for slot in layout.slots:
        part = vector[slot.start : slot.stop]
        noise = 0.2 * torch.randn(part.shape, generator=generator)
        part += noise.abs() if slot.is_running_variance else noise
    return vector


@torch.no_grad()
def outputs(network, vector, inputs):
    return functional_call(network.eval(), layout_of(network).unflatten(vector), (inputs,))


def symmetries_of(network, shape):
    return find_symmetries(network, layout_of(network), torch.randn(2, *shape))


def sizes(symmetries):
    """Items of each group; with the units of each class where items are blocks."""
    return [
        (group.size, *(group.num_channels(number) for number in range(len(group.classes))))
        if len(group.classes) > 1 or group.num_channels(0) > 1
        else group.size
        for group in symmetries.groups
    ]


def ranking(num_classes, input_shape):
    """A user's own network for ``task.network.name``."""
    flat = torch.Size(input_shape).numel()
    network = Ranking()
    network.first, network.second = nn.Linear(flat, 6), nn.Linear(6, num_classes)
    return nn.Sequential(nn.Flatten(), network)
