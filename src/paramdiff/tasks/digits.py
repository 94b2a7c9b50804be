"""Handwritten digits, 8x8 pixels, bundled with scikit-learn: the quickstart's task.

Of 1,797 images 1,000 are for testing, so that an error rate of 5 % is 50 errors and the similarity
of two networks' errors means something. Patches of scikit-learn's two bundled photographs are the
inputs that are no digits.
"""

import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.tasks.task import ForeignInputs, Split, Task

NUM_TEST = 1000
NUM_TRAIN = 300
PATCHES_PER_PHOTOGRAPH = 500


class DigitsNetwork(nn.Module):
    """Three convolutions with batch normalisation and a linear layer; 8x8 images to 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 32, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 1, 8, 8]`` to logits ``[B, 10]``."""
        x = F.relu(self.norm1(self.conv1(images)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x)))
        return self.head(x.mean((2, 3)))


def digits(seed: int = 0) -> Task:
    """The digits task.

    Args:
        seed: of the split into training, validation and test images.

    Returns:
        300 training, 497 validation and 1,000 test images, each class in proportion.
    """
    images, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(
        range(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=seed
    )
    train, validation = train_test_split(
        rest, train_size=NUM_TRAIN, stratify=labels[rest], random_state=seed
    )

    def split(rows: list[int]) -> Split:
        inputs = torch.tensor(images[rows] / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
        return Split(inputs, torch.tensor(labels[rows], dtype=torch.int64))

    return Task(
        "scikit-learn digits",
        split(train),
        split(validation),
        split(test),
        DigitsNetwork,
        out_of_distribution=photograph_patches(seed),
    )


def photograph_patches(seed: int) -> ForeignInputs:
    """Grey 8x8 patches of two photographs, each stretched to the digits' range of brightness.

    Args:
        seed: of the places that are cut out.

    Returns:
        1,000 patches ``[1000, 1, 8, 8]``.
    """
    photographs = load_sample_images().images
    patches = torch.stack(
        [
            torch.tensor(patch, dtype=torch.float32)
            for photograph in photographs
            for patch in extract_patches_2d(
                photograph.mean(2), (8, 8), max_patches=PATCHES_PER_PHOTOGRAPH, random_state=seed
            )
        ]
    )
    low, high = patches.amin((1, 2), keepdim=True), patches.amax((1, 2), keepdim=True)
    stretched = (patches - low) / (high - low).clamp(min=1)
    return ForeignInputs("8x8 patches of photographs", stretched[:, None])
