"""The format of a checkpoint on disk, so that generated checkpoints are stored like the originals.

A checkpoint is a file, or a folder of transformers, diffusers or PEFT: weight files of known
names, in one or several shards with an index, beside configuration and vocabulary, which belong to
the format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from paramdiff.checkpoints.container import Container
from paramdiff.checkpoints.extra_files import ExtraFiles, copy_files, find_extra_files
from paramdiff.checkpoints.foreign_formats import is_torch_file
from paramdiff.checkpoints.library_folders import (
    CHECKPOINT_SUFFIXES,
    INDEX_SUFFIX,
    PIPELINE_INDEX,
    checkpoint_suffix,
    is_library_folder,
    is_loose_shard,
    variant_index,
    weight_files,
)
from paramdiff.checkpoints.read import read_file
from paramdiff.errors import UserError
from paramdiff.settings import Settings, load
from paramdiff.storage import (
    FOREIGN_MARK,
    METADATA_KEY,
    read_header,
    read_json,
    sha256_of,
    write_tensors,
    write_text,
    write_torch,
    written_aside,
)

EXTRA_FILES_FOLDER = "extra_files"
"""Folder beside a format's JSON that holds its large and binary files."""
VALUE_HASH_KEYS = ("hash", "sha256")
"""Endings of header keys that describe the original's values and not generated ones."""


class StoredFile(Settings):
    """One weight file of a checkpoint."""

    file: str = Field(description="path relative to the checkpoint's folder")
    kind: Literal["safetensors", "torch"]
    container: Container = Container()
    names: tuple[str, ...] = Field(description="names of its tensors in a zoo")
    scope: str = Field("", description="prefix of this file's component")
    metadata: dict[str, str] = Field({}, description="metadata of a safetensors header")


class CheckpointFormat(Settings):
    """The files of a checkpoint and their layout."""

    files: tuple[StoredFile, ...] = Field(min_length=1)
    is_folder: bool = Field(description="true for a folder, false for a single file")
    extra_texts: dict[str, str] = Field(
        {}, description="a folder's other text files (configuration, vocabulary), by relative path"
    )
    extra_files: tuple[str, ...] = Field(
        (), description="relative paths of its large and binary files, stored beside the format"
    )
    extra_files_folder: Path | None = Field(
        None, exclude=True, description="folder that currently holds them"
    )
    left_out: tuple[str, ...] = Field(
        (), exclude=True, description="relative paths of files that are not copied"
    )

    @property
    def suffix(self) -> str:
        """Suffix of a checkpoint's path; empty for a folder."""
        name = self.files[0].file
        return "" if self.is_folder else checkpoint_suffix(name) or Path(name).suffix

    @property
    def description(self) -> str:
        """One-line description."""
        first = self.files[0]
        text = {"safetensors": "safetensors", "torch": "torch.save"}[first.kind]
        if self.is_folder:
            files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
            text = f"a folder with {files} of {text}"
        if first.container.keys:
            text += f", the state dict under {'.'.join(first.container.keys)!r}"
        if first.container.prefix:
            text += f", names after {first.container.prefix!r}"
        return text

    def in_folder(self, folder: Path) -> "CheckpointFormat":
        """Locate the extra files beside the JSON; raise a ``UserError`` if one is missing."""
        place = folder / EXTRA_FILES_FOLDER
        for relative in self.extra_files:
            if not (place / relative).is_file():
                raise UserError(f"{place / relative}: the file is missing")
        return self.model_copy(update={"extra_files_folder": place})

    def copy_extra_files(self, folder: Path) -> None:
        """Copy the extra files to a folder beside the format's JSON."""
        if self.extra_files:
            assert self.extra_files_folder is not None
            copy_files(self.extra_files_folder, folder / EXTRA_FILES_FOLDER, self.extra_files)


def read_format(path: Path) -> CheckpointFormat:
    """Read a checkpoint format.

    Args:
        path: path of its JSON file.

    Returns:
        The format.

    Raises:
        UserError: the file is malformed, or names files outside the checkpoint's folder.
    """
    checkpoint_format = load(CheckpointFormat, read_json(path), path)
    named = (
        *(file.file for file in checkpoint_format.files),
        *checkpoint_format.extra_texts,
        *checkpoint_format.extra_files,
    )
    for relative in named:
        parts = PurePosixPath(relative).parts
        if not parts or PurePosixPath(relative).is_absolute() or ".." in parts or "\\" in relative:
            raise UserError(f"{path}: {relative!a} lies outside the checkpoint")
    return checkpoint_format.in_folder(path.parent)


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint on disk, not read yet.

    Attributes:
        path: file or folder.
        name: display name.
        step: training step or epoch, from its name or content; None if unknown.
        counted_in: unit of ``step``; None for a bare number in the name.
    """

    path: Path
    name: str
    step: int | None = None
    counted_in: Literal["step", "epoch"] | None = None

    def read(
        self, state_dict_key: str | None = None
    ) -> tuple[dict[str, Tensor], CheckpointFormat]:
        """Read all tensors and their format.

        Args:
            state_dict_key: key of the state dict in a file that holds several.

        Returns:
            Name to tensor, and the format.

        Raises:
            UserError: a file is missing, damaged, or does not hold exactly one state dict.
        """
        if not self.path.is_dir():
            found, container = read_file(self.path, state_dict_key)
            stored = StoredFile(
                file=self.path.name,
                kind=_kind(self.path),
                container=container,
                names=tuple(found),
                metadata=_metadata(self.path),
            )
            return found, CheckpointFormat(
                files=(stored,), is_folder=False, left_out=container.left_out
            )
        tensors: dict[str, Tensor] = {}
        files = []
        for relative, scope, names in weight_files(self.path):
            found, container = read_file(self.path / relative, state_dict_key)
            if names is not None and set(names) != set(found):
                odd = sorted(set(names) ^ set(found))[0]
                raise UserError(
                    f"{self.path / relative}: the index and the file disagree about tensor {odd!a}"
                )
            scoped = {f"{scope}{name}": tensor for name, tensor in found.items()}
            twice = next((name for name in scoped if name in tensors), None)
            if twice is not None:
                raise UserError(f"{self.path / relative}: tensor {twice!a} is in two files")
            tensors |= scoped
            files.append(
                StoredFile(
                    file=relative,
                    kind=_kind(Path(relative)),
                    container=container,
                    names=tuple(scoped),
                    scope=scope,
                    metadata=_metadata(self.path / relative),
                )
            )
        beside = _extra_files(self.path)
        return tensors, CheckpointFormat(
            files=tuple(files),
            is_folder=True,
            extra_texts=beside.texts,
            extra_files=beside.files,
            extra_files_folder=self.path,
            left_out=beside.left_out,
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, or of each of the folder's weight files."""
        return "+".join(map(sha256_of, self._files))

    @property
    def changed_at(self) -> float:
        """Latest modification time of its weight files, in seconds."""
        return max(file.stat().st_mtime for file in self._files)

    @property
    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        return [self.path / file for file, _, _ in weight_files(self.path)]


def is_checkpoint(path: Path) -> bool:
    """Check if a path is a checkpoint: a file, by suffix or content, or a library's folder."""
    if path.is_dir():
        return is_library_folder(path)
    return path.is_file() and (checkpoint_suffix(path.name) != "" or is_torch_file(path))


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    checkpoint_format: CheckpointFormat,
    metadata: Any = None,
) -> None:
    """Write a checkpoint atomically in the format of another one.

    Args:
        path: file or folder; a folder must not exist yet.
        tensors: name to tensor. Every name must occur in the format; a file of the format without
            any of the tensors is not written.
        checkpoint_format: format of a checkpoint of the same network.
        metadata: JSON value added to the header of a single safetensors file.

    Raises:
        UserError: the format has no file for a tensor.
    """
    known = {name for file in checkpoint_format.files for name in file.names}
    strange = [name for name in tensors if name not in known]
    if strange:
        raise UserError(f"{path}: the checkpoint format has no tensor {strange[0]!a}")
    if not checkpoint_format.is_folder:
        own = {name: tensors[name] for name in checkpoint_format.files[0].names if name in tensors}
        _write_file(path, checkpoint_format.files[0], own, metadata)
        return
    with written_aside(path) as aside:
        aside.mkdir()
        for relative, text in checkpoint_format.extra_texts.items():
            write_text(aside / relative, text)
        if checkpoint_format.extra_files:
            assert checkpoint_format.extra_files_folder is not None
            copy_files(checkpoint_format.extra_files_folder, aside, checkpoint_format.extra_files)
        for file in checkpoint_format.files:
            own = {name: tensors[name] for name in file.names if name in tensors}
            if own:
                (aside / file.file).parent.mkdir(parents=True, exist_ok=True)
                _write_file(aside / file.file, file, own, None)
        _write_indices(aside, checkpoint_format, tensors)


def _kind(path: Path) -> Literal["safetensors", "torch"]:
    return "safetensors" if path.suffix.lower() == ".safetensors" else "torch"


def _write_file(
    path: Path, file: StoredFile, tensors: Mapping[str, Tensor], metadata: Any
) -> None:
    plain = {name.removeprefix(file.scope): tensor for name, tensor in tensors.items()}
    content = file.container.wrap(plain)
    if file.kind == "safetensors":
        write_tensors(path, content, metadata, header=FOREIGN_MARK | file.metadata)
        return
    write_torch(path, content)


def _write_indices(
    folder: Path, checkpoint_format: CheckpointFormat, tensors: Mapping[str, Tensor]
) -> None:
    """Write an index for every component that is stored in shards."""
    for parent in sorted({str(Path(file.file).parent) for file in checkpoint_format.files}):
        files = [file for file in checkpoint_format.files if str(Path(file.file).parent) == parent]
        if not is_loose_shard(Path(files[0].file).name):
            continue
        places = {
            f"{file.container.prefix}{name.removeprefix(file.scope)}": Path(file.file).name
            for file in files
            for name in file.names
            if name in tensors
        }
        size = sum(
            tensors[name].nbytes for file in files for name in file.names if name in tensors
        )
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        target = folder / parent / variant_index(Path(files[0].file).name)
        write_text(target, json.dumps(index, indent=2) + "\n")


def _extra_files(folder: Path) -> ExtraFiles:
    components: tuple[Path, ...] = ()
    if (folder / PIPELINE_INDEX).is_file():
        components = tuple(child for child in folder.iterdir() if is_checkpoint(child))
    return find_extra_files(folder, (*CHECKPOINT_SUFFIXES, INDEX_SUFFIX), components)


def _metadata(path: Path) -> dict[str, str]:
    """Return a safetensors header's metadata, without ours and without hashes of values."""
    if _kind(path) != "safetensors":
        return {}
    return {
        key: value
        for key, value in read_header(path).items()
        if key != METADATA_KEY and not key.endswith(VALUE_HASH_KEYS)
    }
