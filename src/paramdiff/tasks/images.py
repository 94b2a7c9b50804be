"""Raw images by number: pixels in memory, or files that are decoded when asked for."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from paramdiff.errors import UserError

Change = Callable[[Tensor], Tensor]


class Images(Protocol):
    """``N`` images, uint8 (0 to 255) or float."""

    def __len__(self) -> int:
        """``N``."""

    def read(self, numbers: Tensor, change: Change) -> Tensor | Sequence[Tensor]:
        """Some of them, each ``[C, H, W]`` after a change that works on one or several alike."""


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
        raise UserError(f"{path}: expected an image, found a damaged file: {error}") from None


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
