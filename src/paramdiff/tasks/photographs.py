"""Patches of scikit-learn's two bundled photographs: inputs that are no digits."""

import torch
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from paramdiff.tasks.task import ForeignInputs

PATCHES_PER_PHOTOGRAPH = 500


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
