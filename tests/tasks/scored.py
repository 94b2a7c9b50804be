"""Tasks that bring their own loss and score: what their tests share."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F

from paramdiff.tasks.base import ClassificationTask, CustomTask, Scores

SIZES = {"train": 242, "validation": 50, "test": 150}
TOLERATED = 0.8
"""Of the target's standard deviation: a prediction that is farther off is wrong."""


def diabetes():
    """Standardized, and split: name to inputs ``[E, 10]`` and targets ``[E]``."""
    inputs, targets = (torch.tensor(array).float() for array in load_diabetes(return_X_y=True))
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    rows = order.split(list(SIZES.values()))
    return {
        name: (20 * inputs[own], (targets[own] - 150) / 75)
        for name, own in zip(SIZES, rows, strict=True)
    }


def build_network():
    """Batch normalization has buffers, which every network must get anew."""
    return nn.Sequential(
        nn.Linear(10, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.1), nn.Linear(12, 1)
    )


def r_squared(seed):
    """One score for a whole split, and what is wrong example by example."""
    data = diabetes()

    def loss(network, rows, generator):
        inputs, targets = (array[rows] for array in data["train"])
        return F.mse_loss(network(inputs)[:, 0], targets)

    def score(network, split):
        inputs, targets = data[split]
        errors = network.eval()(inputs)[:, 0] - targets
        value = 1 - errors.square().mean() / targets.var(correction=0)
        return Scores(value[None], errors.abs() > TOLERATED)

    return CustomTask("diabetes", "R2", False, *SIZES.values(), build_network, loss, score)


def wrapped(task: ClassificationTask) -> CustomTask:
    """A classification task as if nobody knew that it is one."""

    def loss(network, rows, generator):
        return F.cross_entropy(network(task.train.inputs[rows]), task.train.labels[rows])

    def score(network, split):
        examples = getattr(task, split)
        is_right = network.eval()(examples.inputs[:]).argmax(1) == examples.labels
        return Scores(is_right.float(), ~is_right)

    return CustomTask(
        task.name,
        "accuracy",
        True,
        task.num_train,
        task.num_validation,
        task.num_test,
        task.build_network,
        loss,
        score,
    )
