"""One checkpoint as it lies on disk: a file, or a folder of weight files; read, and written alike.

Folders are those of transformers, diffusers and PEFT: weight files of known names, one or several
shards with an index, beside configuration and vocabulary, which belong to the form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from paramdiff.checkpoints.container import Wrapping
from paramdiff.checkpoints.extra_files import Companions, companions_of, copy_files
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

COMPANIONS_FOLDER = "companions"
"""Beside a form's JSON: the files of a checkpoint's folder that do not lie in it."""
OF_THESE_VALUES = ("hash", "sha256")
"""In keys of a header that would say of generated values what holds of the original's."""


class StoredFile(Settings):
    """One weight file of a checkpoint."""

    file: str = Field(description="relative to the checkpoint's folder")
    kind: Literal["safetensors", "torch"]
    wrapping: Wrapping = Wrapping()
    names: tuple[str, ...] = Field(description="of its tensors, as they are called in a zoo")
    scope: str = Field("", description="what stands before a name for this file's component")
    metadata: dict[str, str] = Field({}, description="of a safetensors file's header")


class StoredForm(Settings):
    """How a checkpoint is stored, so that another can be stored alike."""

    files: tuple[StoredFile, ...] = Field(min_length=1)
    is_folder: bool = Field(description="whether the checkpoint is a folder")
    companions: dict[str, str] = Field(
        {}, description="a folder's other text files (configuration, vocabulary), by relative path"
    )
    companion_files: tuple[str, ...] = Field(
        (), description="relative paths of its large and binary ones, which lie beside the form"
    )
    companions_in: Path | None = Field(
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
        """The form, for people."""
        first = self.files[0]
        told = {"safetensors": "safetensors", "torch": "torch.save"}[first.kind]
        if self.is_folder:
            files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
            told = f"a folder with {files} of {told}"
        if first.wrapping.keys:
            told += f", the state dict under {'.'.join(first.wrapping.keys)!r}"
        if first.wrapping.prefix:
            told += f", names after {first.wrapping.prefix!r}"
        return told

    def in_folder(self, folder: Path) -> "StoredForm":
        """The form, its files in the folder of its JSON; a ``UserError`` where one is missing."""
        place = folder / COMPANIONS_FOLDER
        for relative in self.companion_files:
            if not (place / relative).is_file():
                raise UserError(f"{place / relative}: expected a file, found none")
        return self.model_copy(update={"companions_in": place})

    def copy_companions(self, folder: Path) -> None:
        """Copy the files that do not lie in the form's JSON beside it."""
        if self.companion_files:
            assert self.companions_in is not None
            copy_files(self.companions_in, folder / COMPANIONS_FOLDER, self.companion_files)


def read_form(path: Path) -> StoredForm:
    """Read a form.

    Args:
        path: of its JSON.

    Returns:
        The form.

    Raises:
        UserError: it is no form, or names files outside a checkpoint's folder.
    """
    form = load(StoredForm, read_json(path), path)
    named = (*(file.file for file in form.files), *form.companions, *form.companion_files)
    for relative in named:
        parts = PurePosixPath(relative).parts
        if not parts or PurePosixPath(relative).is_absolute() or ".." in parts or "\\" in relative:
            raise UserError(f"{path}: expected files inside the checkpoint, found {relative!a}")
    return form.in_folder(path.parent)


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

    def read(self, entry: str | None = None) -> tuple[dict[str, Tensor], StoredForm]:
        """All tensors, and how they are stored.

        Args:
            entry: the key of the state dict, where a file holds several.

        Returns:
            Name to tensor, and the form.

        Raises:
            UserError: a file is missing, damaged, or holds anything but one state dict.
        """
        if not self.path.is_dir():
            found, wrapping = read_file(self.path, entry)
            stored = StoredFile(
                file=self.path.name,
                kind=_kind(self.path),
                wrapping=wrapping,
                names=tuple(found),
                metadata=_metadata(self.path),
            )
            return found, StoredForm(files=(stored,), is_folder=False, left_out=wrapping.left_out)
        tensors: dict[str, Tensor] = {}
        files = []
        for relative, scope, names in weight_files(self.path):
            found, wrapping = read_file(self.path / relative, entry)
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
                    wrapping=wrapping,
                    names=tuple(scoped),
                    scope=scope,
                    metadata=_metadata(self.path / relative),
                )
            )
        beside = _companions(self.path)
        return tensors, StoredForm(
            files=tuple(files),
            is_folder=True,
            companions=beside.texts,
            companion_files=beside.files,
            companions_in=self.path,
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
    form: StoredForm,
    metadata: Any = None,
) -> None:
    """Write a checkpoint in a form; whole or not at all.

    Args:
        path: the file or folder; a folder must not exist yet.
        tensors: name to tensor. Those that the form's files do not name are an error; those that
            the form names and that are missing leave their file, where it has no other, away.
        form: of another checkpoint of the same network.
        metadata: any JSON value, for a checkpoint that is one safetensors file; it joins those of
            the form.

    Raises:
        UserError: a tensor has no place in the form.
    """
    known = {name for file in form.files for name in file.names}
    strange = [name for name in tensors if name not in known]
    if strange:
        raise UserError(f"{path}: tensor {strange[0]!a} has no place in the checkpoint's form")
    if not form.is_folder:
        own = {name: tensors[name] for name in form.files[0].names if name in tensors}
        _write_file(path, form.files[0], own, metadata)
        return
    with written_aside(path) as aside:
        aside.mkdir()
        for relative, text in form.companions.items():
            write_text(aside / relative, text)
        if form.companion_files:
            assert form.companions_in is not None
            copy_files(form.companions_in, aside, form.companion_files)
        for file in form.files:
            own = {name: tensors[name] for name in file.names if name in tensors}
            if own:
                (aside / file.file).parent.mkdir(parents=True, exist_ok=True)
                _write_file(aside / file.file, file, own, None)
        _write_indices(aside, form, tensors)


def _kind(path: Path) -> Literal["safetensors", "torch"]:
    return "safetensors" if path.suffix.lower() == ".safetensors" else "torch"


def _write_file(
    path: Path, file: StoredFile, tensors: Mapping[str, Tensor], metadata: Any
) -> None:
    plain = {name.removeprefix(file.scope): tensor for name, tensor in tensors.items()}
    content = file.wrapping.around(plain)
    if file.kind == "safetensors":
        write_tensors(path, content, metadata, header=FOREIGN_MARK | file.metadata)
        return
    write_torch(path, content)


def _write_indices(folder: Path, form: StoredForm, tensors: Mapping[str, Tensor]) -> None:
    """An index for every component that is stored in shards."""
    for parent in sorted({str(Path(file.file).parent) for file in form.files}):
        files = [file for file in form.files if str(Path(file.file).parent) == parent]
        if not is_loose_shard(Path(files[0].file).name):
            continue
        places = {
            f"{file.wrapping.prefix}{name.removeprefix(file.scope)}": Path(file.file).name
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


def _companions(folder: Path) -> Companions:
    components: tuple[Path, ...] = ()
    if (folder / PIPELINE_INDEX).is_file():
        components = tuple(child for child in folder.iterdir() if is_checkpoint(child))
    return companions_of(folder, (*CHECKPOINT_SUFFIXES, INDEX_SUFFIX), components)


def _metadata(path: Path) -> dict[str, str]:
    """A safetensors header's own, without what is ours or is about the values."""
    if _kind(path) != "safetensors":
        return {}
    return {
        key: value
        for key, value in read_header(path).items()
        if key != METADATA_KEY and not key.endswith(OF_THESE_VALUES)
    }
