"""Denoising: the loss trains, the score is the same error for every network."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paramdiff.paper.denoising import denoising_loss, schedule
from paramdiff.tasks.base import seeded_network
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings
from tests.tasks.formats import WRITERS, labels, pixels


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "tiny.npz"
    arrays = {"x_train": pixels(60, 32), "y_train": labels(60)}
    np.savez(path, **arrays, x_test=pixels(20, 32, seed=1), y_test=labels(20))
    return TaskSettings(name="cifar10_denoising", root=path, network={"name": "unet8"})


class Constant(nn.Module):
    """Sees the same noise everywhere."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.times = []

    def forward(self, images, timesteps):
        self.times += timesteps.tolist()
        return type("Output", (), {"sample": self.value.expand(images.shape)})


def test_noise_levels_are_ddpms():
    """Ho et al. 2020: a thousand, from 0.0001 to 0.02."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = schedule().alphas_cumprod.double()
    assert torch.allclose(kept, (1 - betas).cumprod(0), rtol=1e-4)


def test_images_lie_between_minus_one_and_one(settings):
    task = build_task(settings)
    images = task.loss.args[0][:]
    assert images.min() == -1 and images.max() == 1
    assert (task.num_train, task.num_validation, task.num_test) == (50, 10, 20)
    assert not task.is_fraction and not task.selects_on_test


def test_one_value_per_image_at_noise_levels_of_all_heights(settings):
    task, network = build_task(settings), Constant()
    scores = task.score(network, "test")
    assert scores.values.shape == (20,) and scores.wrong is None
    assert sorted(network.times) == [50 * number for number in range(20)]
    # no noise is predicted, and noise has variance 1
    assert scores.values.mean().item() == pytest.approx(-1, abs=0.02)
    worse = task.score(Constant(1.0), "test").values
    assert worse.mean().item() == pytest.approx(-2, abs=0.05)
    assert torch.equal(task.score(Constant(), "test").values, scores.values)


def test_the_loss_is_the_error_of_the_noise(settings):
    """Against the definition, with the same draws."""
    task = build_task(settings)
    inputs, network = task.loss.args[0], seeded_network(task, 0).eval()
    rows = torch.tensor([3, 1, 4])
    found = denoising_loss(inputs, False, network, rows, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    torch.rand(3, generator=generator)
    times = torch.randint(1000, (3,), generator=generator)
    noise = torch.randn(3, 3, 32, 32, generator=generator)
    kept = torch.linspace(1 - 1e-4, 1 - 0.02, 1000).cumprod(0)[times].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * inputs[rows] + (1 - kept).sqrt() * noise
    assert torch.allclose(found, F.mse_loss(network(noisy, times).sample, noise), rtol=1e-4)


def test_half_of_the_images_are_mirrored(settings):
    task = build_task(settings)
    inputs, seen = task.loss.args[0], []

    class Recorder(Constant):
        def forward(self, images, timesteps):
            seen.append(images)
            return super().forward(images, timesteps)

    rows = torch.arange(40)
    for mirror in (False, True):
        generator = torch.Generator().manual_seed(1)
        denoising_loss(inputs, mirror, Recorder(), rows, generator)
    changed = [not torch.equal(a, b) for a, b in zip(*seen, strict=True)]
    assert 10 < sum(changed) < 30


def test_training_raises_the_score(settings):
    task = build_task(settings.model_copy(update={"image_size": 16}))
    network = seeded_network(task, 0)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    before = task.score(network, "test").values.mean()
    network.train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        optimizer.zero_grad()
        task.loss(network, torch.arange(16), generator).backward()
        optimizer.step()
    assert task.score(network, "test").values.mean() > before + 0.1


def test_torchvisions_files(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    WRITERS["cifar10"](tmp_path, monkeypatch)
    task = build_task(
        TaskSettings(name="cifar10_denoising", root=tmp_path, network={"name": "unet8"})
    )
    assert (task.num_train, task.num_validation, task.num_test) == (180, 20, 20)


def test_a_description_needs_no_data(tmp_path):
    described = describe_task(TaskSettings(name="cifar10_denoising", root=tmp_path / "none"))
    assert (described.num_train, described.num_test) == (45_000, 10_000)
    assert describe_task(
        TaskSettings(name="cifar10_denoising", root=tmp_path / "x.npz", protocol="paper")
    ).num_validation == 2_000  # fmt: skip
    with torch.device("meta"):
        assert described.build_network().state_dict()["conv_out.bias"].shape == (3,)
