"""Folders of checkpoints of a tiny network, and functions that score them."""

import torch
from torch import nn

EXAMPLES = 300


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def examples(seed=0, num=EXAMPLES):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num,), generator=generator)
    inputs = torch.randn(num, 4, generator=generator)
    inputs[torch.arange(num), labels] += 2
    return inputs, labels


def train(folder, num=12, seed=0, suffix=".pt"):
    """Save checkpoints of one run, in the order of training."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, labels = examples(seed + 10)
    for step in range(num):
        for rows in torch.arange(EXAMPLES).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        torch.save(model.state_dict(), folder / f"step{step}{suffix}")
    return folder


def score(state_dict, split):
    """Accuracy on examples of the split."""
    model = network()
    model.load_state_dict(state_dict)
    inputs, labels = examples(100 if split == "validation" else 200)
    with torch.no_grad():
        return float((model.eval()(inputs).argmax(1) == labels).float().mean())


def score_alone(state_dict):
    return score(state_dict, "test")
