"""One checkpoint as it lies on disk: a file, or a folder of weight files; read, and written alike.

Folders are those of transformers, diffusers and PEFT: weight files of known names, one or several
shards with an index, beside configuration and vocabulary, which belong to the checkpoint_format.
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
"""Beside a form's JSON: the files of a checkpoint's folder that do not lie in it."""
OF_THESE_VALUES = ("hash", "sha256")
"""In keys of a header that would say of generated values what holds of the original's."""


class StoredFile(Settings):
    """One weight file of a checkpoint."""

    file: str = Field(description="relative to the checkpoint's folder")
    kind: Literal["safetensors", "torch"]
    container: Container = Container()
    names: tuple[str, ...] = Field(description="of its tensors, as they are called in a zoo")
    scope: str = Field("", description="what stands before a name for this file's component")
    metadata: dict[str, str] = Field({}, description="of a safetensors file's header")


class CheckpointFormat(Settings):
    """How a checkpoint is stored, so that another can be stored alike."""

    files: tuple[StoredFile, ...] = Field(min_length=1)
    is_folder: bool = Field(description="whether the checkpoint is a folder")
    extra_texts: dict[str, str] = Field(
        {}, description="a folder's other text files (configuration, vocabulary), by relative path"
    )
    extra_files: tuple[str, ...] = Field(
        (), description="relative paths of its large and binary ones, which lie beside the form"
    )
    extra_files_folder: Path | None = Field(
        None, exclude=True, description="the folder in which these lie now"
    )
    left_out: tuple[str, ...] = Field(
        (), exclude=True, description="what else was found, and is not repeated"
    )

    @property
    def suffix(self) -> str:
        """Of a checkpoint's path."""
        name = self.files[0].file
        return "" if self.is_folder else checkpoint_suffix(name) or Path(name).suffix

    @property
    def words(self) -> str:
        """The checkpoint_format, for people."""
        first = self.files[0]
        told = {"safetensors": "safetensors", "torch": "torch.save"}[first.kind]
        if self.is_folder:
            files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
            told = f"a folder with {files} of {told}"
        if first.container.keys:
            told += f", the state dict under {'.'.join(first.container.keys)!r}"
        if first.container.prefix:
            told += f", names after {first.container.prefix!r}"
        return told

    def in_folder(self, folder: Path) -> "CheckpointFormat":
        """Locate the extra files beside the JSON; raise a ``UserError`` if one is missing."""
        place = folder / EXTRA_FILES_FOLDER
        for relative in self.extra_files:
            if not (place / relative).is_file():
                raise UserError(f"{place / relative}: expected a file, found none")
        return self.model_copy(update={"extra_files_folder": place})

    def copy_extra_files(self, folder: Path) -> None:
        """Copy the files that do not lie in the form's JSON beside it."""
        if self.extra_files:
            assert self.extra_files_folder is not None
            copy_files(self.extra_files_folder, folder / EXTRA_FILES_FOLDER, self.extra_files)


def read_format(path: Path) -> CheckpointFormat:
    """Read a checkpoint_format.

    Args:
        path: of its JSON.

    Returns:
        The checkpoint_format.

    Raises:
        UserError: it is no checkpoint_format, or names files outside a checkpoint's folder.
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
            raise UserError(f"{path}: expected files inside the checkpoint, found {relative!a}")
    return checkpoint_format.in_folder(path.parent)


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint that has not been read yet.

    Attributes:
        path: the file, or the folder.
        name: for people.
        step: how far training had come, as its name or content tells; None where nothing does.
        counted_in: steps or epochs; None for a number in the name that does not say.
    """

    path: Path
    name: str
    step: int | None = None
    counted_in: Literal["step", "epoch"] | None = None

    def read(
        self, state_dict_key: str | None = None
    ) -> tuple[dict[str, Tensor], CheckpointFormat]:
        """All tensors, and how they are stored.

        Args:
            state_dict_key: the key of the state dict, where a file holds several.

        Returns:
            Name to tensor, and the checkpoint_format.

        Raises:
            UserError: a file is missing, damaged, or holds anything but one state dict.
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
                    f"{self.path / relative}: expected the tensors that the index names, found "
                    f"{odd!a} in one of the two only"
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
        """Of the file, or of the folder's weight files."""
        return "+".join(map(sha256_of, self._files))

    @property
    def changed_at(self) -> float:
        """When it, or the last of a folder's weight files, was last written, in seconds."""
        return max(file.stat().st_mtime for file in self._files)

    @property
    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        return [self.path / file for file, _, _ in weight_files(self.path)]


def is_checkpoint(path: Path) -> bool:
    """Whether a path is one checkpoint: a file by its suffix or content, or a library's folder."""
    if path.is_dir():
        return is_library_folder(path)
    return path.is_file() and (checkpoint_suffix(path.name) != "" or is_torch_file(path))


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    checkpoint_format: CheckpointFormat,
    metadata: Any = None,
) -> None:
    """Write a checkpoint in a form; whole or not at all.

    Args:
        path: the file or folder; a folder must not exist yet.
        tensors: name to tensor. Those that the form's files do not name are an error; those that
            the form names and that are missing leave their file, where it has no other, away.
        checkpoint_format: of another checkpoint of the same network.
        metadata: any JSON value, for a checkpoint that is one safetensors file; it joins those of
            the checkpoint_format.

    Raises:
        UserError: a tensor has no place in the checkpoint_format.
    """
    known = {name for file in checkpoint_format.files for name in file.names}
    strange = [name for name in tensors if name not in known]
    if strange:
        raise UserError(f"{path}: tensor {strange[0]!a} has no place in the checkpoint's form")
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
    """An index for every component that is stored in shards."""
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
    """A safetensors header's own, without what is ours or is about the values."""
    if _kind(path) != "safetensors":
        return {}
    return {
        key: value
        for key, value in read_header(path).items()
        if key != METADATA_KEY and not key.endswith(OF_THESE_VALUES)
    }
