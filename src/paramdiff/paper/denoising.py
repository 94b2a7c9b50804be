"""Denoising of CIFAR-10's images by a diffusion network: DDPM's loss, and minus it as the score.

The paper's score, FID, compares thousands of sampled images by a network whose weights must be
downloaded. This score needs neither: it is minus the error of the predicted noise, for each image
at one noise level and one draw of noise, which are the same for every network.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.networks import build_noise_predictor
from paramdiff.scoring.inputs import Inputs, batches
from paramdiff.tasks.arrays import image_splits, read_arrays
from paramdiff.tasks.base import ClassificationTask, CustomTask, Scores, TaskDescription
from paramdiff.tasks.download import read_public
from paramdiff.tasks.image_task import ImageSplits, ImageTask
from paramdiff.tasks.public import FACTS, HALF, PUBLIC
from paramdiff.tasks.task_settings import TaskSettings

NETWORK = NetworkSettings(name="unet128", pretrained=True)
NUM_TIMESTEPS = 1000
BATCH = 250  # images per forward pass when scoring


@dataclass(frozen=True)
class Denoising:
    """Specification of the task in a recipe."""

    settings: TaskSettings

    @property
    def network(self) -> NetworkSettings:
        """The recipe's network, or the paper's."""
        return self.settings.network or NETWORK

    @cached_property
    def images(self) -> ImageTask:
        """The images in [-1, 1]; an ``.npz`` file has the first 10,000 and 2,000 of CIFAR-10."""
        root = self.settings.root
        is_npz = root is not None and root.suffix == ".npz"
        facts = replace(FACTS["cifar10_10k" if is_npz else "cifar10"], mean=HALF, std=HALF)

        def read() -> ImageSplits:
            if is_npz and root is not None:
                return image_splits(read_arrays(root))
            return read_public(PUBLIC["cifar10"], root)

        return ImageTask(facts, self.settings, read)

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``."""
        sizes = self.images.describe()
        return TaskDescription(
            f"denoising of {sizes.title}",
            None,
            None,
            sizes.num_train,
            sizes.num_validation,
            sizes.num_test,
            self._builder(),
        )

    def build(self) -> CustomTask:
        """See ``TaskSpec``."""
        found, build = self.images.build(), self._builder()
        return CustomTask(
            name=f"denoising of {found.name}",
            score_name="minus the error of the predicted noise",
            is_fraction=False,
            num_train=len(found.train),
            num_validation=len(found.validation),
            num_test=len(found.test),
            build_network=build,
            loss=partial(denoising_loss, found.train.inputs, self.settings.augment),
            score=partial(denoising_scores, found),
            build_pretrained=partial(build, pretrained=True) if self.network.pretrained else None,
            network_name=self.network.name,
            selects_on_test=found.selects_on_test,
        )

    def _builder(self) -> "partial[nn.Module]":
        channels, size, _ = self.images.input_shape
        return partial(build_noise_predictor, self.network, channels, size)


def schedule() -> Any:
    """Build DDPM's noise schedule: 1,000 steps, linear from 0.0001 to 0.02."""
    from diffusers import DDPMScheduler  # loads torchvision where it is installed

    return DDPMScheduler(num_train_timesteps=NUM_TIMESTEPS, beta_start=1e-4, beta_end=0.02)


def denoising_loss(
    inputs: Inputs, mirror: bool, network: nn.Module, rows: Tensor, generator: torch.Generator
) -> Tensor:
    """Compute the mean squared error of the predicted noise, at random noise levels.

    Args:
        inputs: of the training split, in [-1, 1].
        mirror: if half of the images are mirrored.
        network: predicts noise, in its own mode.
        rows: of the training split, ``[B]``.
        generator: draws mirroring, noise levels and noise.

    Returns:
        A scalar.
    """
    device = next(network.parameters()).device
    images = inputs[rows]
    is_mirrored = (torch.rand(len(rows), generator=generator) < 0.5) & mirror
    images = images.flip(-1).where(is_mirrored.view(-1, 1, 1, 1), images)
    timesteps = torch.randint(NUM_TIMESTEPS, (len(rows),), generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    return squared_errors(network, images, timesteps, noise, device).mean()


@torch.no_grad()
def denoising_scores(
    found: ClassificationTask, network: nn.Module, split: Literal["validation", "test"]
) -> Scores:
    """Compute minus the mean squared error of the predicted noise, for each image.

    Noise levels are spaced evenly over all 1,000; their order and the noise depend on the number
    of images only.

    Args:
        found: the images.
        network: is put into evaluation mode.
        split: which images.

    Returns:
        One value per image, without errors.
    """
    inputs: Inputs = getattr(found, split).inputs
    device = next(network.parameters()).device
    network.eval()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(inputs), generator=generator)
    timesteps = order * NUM_TIMESTEPS // len(inputs)
    errors = []
    for images, times in zip(batches(inputs, BATCH), timesteps.split(BATCH), strict=True):
        noise = torch.randn(images.shape, generator=generator)
        errors.append(squared_errors(network, images, times, noise, device).mean((1, 2, 3)).cpu())
    return Scores(-torch.cat(errors))


def squared_errors(
    network: nn.Module, images: Tensor, timesteps: Tensor, noise: Tensor, device: torch.device
) -> Tensor:
    """Compute squared errors ``[B, C, H, W]`` of the noise that a network predicts."""
    noisy = schedule().add_noise(images, noise, timesteps)
    predicted = network(noisy.to(device), timesteps.to(device)).sample
    return F.mse_loss(predicted, noise.to(device), reduction="none")
