"""Public image sets where torchvision looks for them; downloaded and verified if missing.

A download goes into a folder aside and is moved when it is whole, so that what a killed process
leaves is never taken for data. An archive that lies in the data folder already is used instead of
the network.
"""

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paramdiff.errors import UserError, in_one_line
from paramdiff.networks.libraries import library
from paramdiff.storage import PARTIAL, remove
from paramdiff.tasks.image_task import ImageSplits

CACHE = Path.home() / ".cache" / "paramdiff" / "data"


@dataclass(frozen=True)
class File:
    """A file of a set.

    Attributes:
        path: below the data folder.
        md5: its checksum, where one is known.
    """

    path: str
    md5: str | None = None

    def __str__(self) -> str:
        return f"{self.path} (md5 {self.md5})" if self.md5 else self.path


@dataclass(frozen=True)
class PublicSet:
    """A set that torchvision reads and downloads.

    Attributes:
        title: display name.
        archives: what the authors publish.
        files: what is read; folders are named, too.
        read: from the data folder and whether to download into it to the images; raises anything
            where files are missing or damaged.
    """

    title: str
    archives: Callable[[Any], list[File]]
    files: Callable[[Any], list[File]]
    read: Callable[[Any, Path, bool], ImageSplits]


def read_public(public: PublicSet, root: Path | None) -> ImageSplits:
    """Read a set, and download it first if it is missing.

    Args:
        public: which.
        root: the data folder; it must exist. None is the cache.

    Returns:
        Its images.

    Raises:
        UserError: a file is damaged, or the set is missing and cannot be downloaded.
    """
    datasets = library("torchvision.datasets")
    if root is not None and not root.is_dir():
        raise UserError(f"task.root: there is no folder with {public.title} at {root}")
    folder = root or CACHE
    try:
        return public.read(datasets, folder, False)
    except UserError:
        raise
    except Exception as error:  # of torchvision if a file is missing, of a parser if damaged
        reason = in_one_line(error)
    files = public.files(datasets)
    missing = [file for file in files if not _is_there(folder, file)]
    if not missing:
        raise UserError(f"{folder}: {public.title} cannot be read: {reason}")
    _download(public, datasets, folder, missing[0])
    return public.read(datasets, folder, False)


def _is_there(folder: Path, file: File) -> bool:
    """Check if a file exists; raise a ``UserError`` if its checksum is wrong."""
    path = folder / file.path
    if file.md5 and path.is_file() and (found := _md5(path)) != file.md5:
        raise UserError(
            f"{path}: damaged: its md5 is {found}, not {file.md5}; remove it to have it "
            "downloaded again"
        )
    return path.exists()


def _download(public: PublicSet, datasets: Any, folder: Path, missing: File) -> None:
    aside = folder / f"{PARTIAL}{public.title.replace(' ', '-')}"
    archives = public.archives(datasets)
    present = [archive for archive in archives if _is_there(folder, archive)]
    try:
        remove(aside)
        aside.mkdir(parents=True)
        for archive in present:
            (aside / archive.path).parent.mkdir(parents=True, exist_ok=True)
            (aside / archive.path).symlink_to((folder / archive.path).resolve())
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bars go to stderr
            public.read(datasets, aside, True)
        for archive in archives:
            if archive in present or archive not in public.files(datasets):
                remove(aside / archive.path)
        _move(aside, folder)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
        wanted = ", ".join(str(archive) for archive in archives)
        raise UserError(
            f"{folder / missing.path}: this file of {public.title} is missing, and it "
            f"cannot be downloaded ({in_one_line(error)}); put {wanted} into {folder}"
        ) from None
    finally:
        remove(aside)


def _move(source: Path, target: Path) -> None:
    """Move what a folder holds; a folder that the target lacks moves whole, at once."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)


def _md5(path: Path) -> str:
    return library("torchvision.datasets.utils").calculate_md5(path)
