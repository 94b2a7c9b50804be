"""Images by number, in memory or decoded on access, and a network's inputs made of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.libraries import library

Change = Callable[[Tensor], Tensor]


class Images(Protocol):
    """``N`` images, uint8 (0 to 255) or float."""

    def __len__(self) -> int:
        """``N``."""

    def read(self, numbers: Tensor, change: Change) -> Tensor | Sequence[Tensor]:
        """Read some, each ``[C, H, W]`` after a change that works on one or several alike."""


@dataclass(frozen=True)
class Pixels:
    """Images of one size in memory, ``[N, C, H, W]``."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def read(self, numbers: Tensor, change: Change) -> Tensor:
        """See ``Images``."""
        return change(self.values[numbers])


@dataclass(frozen=True)
class ImageFiles:
    """Images in files, of any size; each becomes three channels."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, numbers: Tensor, change: Change) -> list[Tensor]:
        """See ``Images``."""
        paths = [self.paths[number] for number in numbers.tolist()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda path: change(decode(path)), paths))


def decode(path: Path) -> Tensor:
    """Read an image.

    Args:
        path: of a file in any format that Pillow reads.

    Returns:
        uint8 ``[3, H, W]``.

    Raises:
        UserError: the file is no image, or a damaged one.
    """
    from torchvision.datasets.folder import default_loader
    from torchvision.transforms.v2.functional import pil_to_tensor

    try:
        return pil_to_tensor(default_loader(str(path)))
    except Exception as error:  # Pillow's decoders raise anything on damaged files
        raise UserError(f"{path}: this image is damaged: {error}") from None


@dataclass(frozen=True)
class LabelledImages:
    """Images and their classes.

    Attributes:
        images: ``N`` of them.
        labels: ``[N]`` int64.
    """

    images: Images
    labels: Tensor

    @classmethod
    def of_files(cls, samples: Sequence[tuple[str | Path, int]]) -> "LabelledImages":
        """From pairs of a path and a class."""
        paths = tuple(Path(path) for path, _ in samples)
        return cls(ImageFiles(paths), torch.tensor([label for _, label in samples]))


LARGE = 224  # from here on the image is resized to more than its middle
MARGIN = 256 / 224


@dataclass(frozen=True)
class Preparation:
    """Conversion of raw images to inputs.

    Attributes:
        size: pixels per side of an input.
        mean: per channel, for pixels in [0, 1]; float images are taken as they are.
        std: per channel.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def in_words(self, images: Images) -> str:
        """Describe the treatment of images of this kind."""
        if isinstance(images, Pixels) and images.values.is_floating_point():
            told = "as they are"
        else:
            mean, std = (
                " ".join(f"{one:.3g}" for one in (*part,)) for part in (self.mean, self.std)
            )
            told = f"pixels over 255, minus {mean}, over {std}"
        is_size = isinstance(images, Pixels) and images.values.shape[-2:] == (self.size, self.size)
        if is_size and self.size < LARGE:
            return told
        return f"{told}; resized, and the middle of {self.size}x{self.size} pixels"

    def middle(self, images: Tensor) -> Tensor:
        """Images ``[..., C, H, W]`` to the middle ``[..., C, size, size]`` of the resized ones."""
        if images.shape[-2:] == (self.size, self.size) and self.size < LARGE:
            return images
        transforms = library("torchvision.transforms.v2.functional")
        side = round(self.size * MARGIN) if self.size >= LARGE else self.size
        resized = transforms.resize(images, [side])
        return transforms.center_crop(resized, [self.size, self.size])

    def random_crops(self, images: Sequence[Tensor], seed: int) -> Tensor:
        """Take one random crop of each image, resized, and mirrored half of the time.

        Args:
            images: ``[C, H, W]`` each.
            seed: determines the draws.

        Returns:
            Images ``[B, C, size, size]``; torch's global generators are left as they were.
        """
        transforms = library("torchvision.transforms.v2")
        size = [self.size, self.size]
        crop = transforms.RandomResizedCrop(size)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs'
            places = [crop.make_params([image]) for image in images]
            is_mirrored = torch.rand(len(images)) < 0.5
        pairs = zip(images, places, strict=True)
        crops = [transforms.functional.resized_crop(i, **p, size=size) for i, p in pairs]
        found = torch.stack(crops)
        return found.flip(-1).where(is_mirrored.view(-1, 1, 1, 1), found)

    def normalized(self, images: Tensor) -> Tensor:
        """uint8 images ``[B, C, size, size]`` to float inputs."""
        if images.is_floating_point():
            return images
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return images.to(torch.float32).div_(255).sub_(mean).div_(std)


@dataclass(frozen=True)
class PreparedImages:
    """Some of the images, as inputs; made when asked for.

    Attributes:
        images: raw.
        numbers: which of them, ``[E]``.
        preparation: how.
    """

    images: Images
    numbers: Tensor
    preparation: Preparation

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        found = self.images.read(self.numbers[rows], self.preparation.middle)
        return self.preparation.normalized(_stacked(found))

    def augmented(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Make the inputs of some rows, each cropped and mirrored at random.

        Args:
            rows: ``[B]``.
            generator: determines the draws; torch's global generator is left as it was.

        Returns:
            Inputs ``[B, C, size, size]``.
        """
        raw = list(self.images.read(self.numbers[rows], _unchanged))
        seed = int(torch.randint(2**62, (), generator=generator))
        return self.preparation.normalized(self.preparation.random_crops(raw, seed))


def _unchanged(image: Tensor) -> Tensor:
    return image


def _stacked(images: Tensor | Sequence[Tensor]) -> Tensor:
    return images if isinstance(images, Tensor) else torch.stack(list(images))
