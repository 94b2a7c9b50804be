"""A tiny task, and collecting a zoo from it: what the tests of collection share."""

import torch
from torch import nn

from paramdiff.progress import ignore_progress
from paramdiff.tasks.base import ClassificationTask, Split
from paramdiff.zoo.collect import collect
from paramdiff.zoo.zoo import Zoo
from paramdiff.zoo.zoo_settings import CollectionSettings

CPU = torch.device("cpu")
STEPS_PER_PASS = 4  # 50 examples, 16 per update
PATTERNS = ("1.*",)
PRETRAINING = {
    "epochs": 3, "batch_size": 16, "lr": 0.05, "weight_decay": 0.0, "decay": "update"
}  # fmt: skip
HARD_PRETRAINING = {"epochs": 12, "lr": 0.3}  # with noisy labels the best epoch is an early one
FINE_TUNING = {"batch_size": 16, "lr": 0.01}


class Killed(Exception):
    """The process dies here."""


def split(num, seed, noise=0.0):
    """Three clusters in four dimensions; a share of the labels is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num,), generator=generator)
    inputs = torch.randn(num, 4, generator=generator) + 3 * nn.functional.one_hot(labels, 4)
    is_noisy = torch.rand(num, generator=generator) < noise
    labels = torch.where(is_noisy, torch.randint(3, (num,), generator=generator), labels)
    return Split(inputs, labels)


def build_network():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def made_task(noise=0.0, built=None, build=build_network, **kwargs):
    """A task; networks that it builds are also put into a list, to look into them later."""

    def build_and_remember():
        network = build()
        if built is not None:
            built.append(network)
        return network

    train = split(50, 1, noise)
    return ClassificationTask(
        "clusters", train, split(40, 2), split(40, 3), build_and_remember, **kwargs
    )


def settings(**kwargs):
    kwargs = {"num_checkpoints": 5, "num_held_out": 2, **kwargs}
    pretraining = kwargs.pop("pretraining", {})
    return CollectionSettings(
        pretraining=None if pretraining is None else {**PRETRAINING, **pretraining},
        fine_tuning={**FINE_TUNING, **kwargs.pop("fine_tuning", {})},
        **kwargs,
    )


def collected(folder, task=None, patterns=PATTERNS, seed=0, progress=None, fan_out=None, **kwargs):
    collect(
        task or made_task(),
        patterns,
        settings(**kwargs),
        seed=seed,
        device=CPU,
        zoo_folder=folder / "zoo",
        state_folder=folder / "state",
        progress=progress or ignore_progress,
        fan_out=fan_out,
    )
    return Zoo.load(folder / "zoo")


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def dies_at(moment):
    """A callback that raises at the ``moment``-th call of a kind of work."""
    work_to_die_at, number = moment
    calls = []

    def progress(work, done, total):
        if work == work_to_die_at:
            calls.append(done)
            if len(calls) == number:
                raise Killed

    return progress
