"""One checkpoint as it lies on disk: a file, or a folder of weight files; read, and written alike.

Folders are those of transformers, diffusers and PEFT: weight files of known names, one or several
shards with an index, beside configuration and vocabulary, which belong to the form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError
from torch import Tensor

from paramdiff.artefacts import (
    CARD_FILE,
    read_json,
    sha256_of,
    write_tensors,
    write_text,
    write_torch,
    written_aside,
)
from paramdiff.checkpoints.files import read_file
from paramdiff.checkpoints.library_folders import (
    CHECKPOINT_SUFFIXES,
    INDEX_SUFFIX,
    checkpoint_suffix,
    is_library_folder,
    is_loose_shard,
    variant_index,
    weight_files,
)
from paramdiff.checkpoints.other_formats import is_torch_file
from paramdiff.checkpoints.wrapping import Wrapping
from paramdiff.errors import UserError
from paramdiff.settings import Settings

MAX_COMPANION_BYTES = 16 << 20


class StoredFile(Settings):
    """One weight file of a checkpoint."""

    file: str = Field(description="relative to the checkpoint's folder")
    kind: Literal["safetensors", "torch"]
    wrapping: Wrapping = Wrapping()
    names: tuple[str, ...] = Field(description="of its tensors, as they are called in a zoo")
    scope: str = Field("", description="what stands before a name for this file's component")


class StoredForm(Settings):
    """How a checkpoint is stored, so that another can be stored alike."""

    files: tuple[StoredFile, ...] = Field(min_length=1)
    is_folder: bool = Field(description="whether the checkpoint is a folder")
    companions: dict[str, str] = Field(
        {}, description="a folder's other text files (configuration, vocabulary), by relative path"
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


def read_form(path: Path) -> StoredForm:
    """Read a form.

    Args:
        path: of its JSON.

    Returns:
        The form.

    Raises:
        UserError: it is no form, or names files outside a checkpoint's folder.
    """
    try:
        form = StoredForm.model_validate(read_json(path))
    except ValidationError as error:
        told = error.errors()[0]["msg"].lower()
        raise UserError(f"{path}: expected how a checkpoint is stored, found {told}") from None
    for relative in (*(file.file for file in form.files), *form.companions):
        parts = PurePosixPath(relative).parts
        if not parts or PurePosixPath(relative).is_absolute() or ".." in parts or "\\" in relative:
            raise UserError(f"{path}: expected files inside the checkpoint, found {relative!a}")
    return form


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
            )
            return found, StoredForm(files=(stored,), is_folder=False)
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
                )
            )
        companions = _companions(self.path)
        return tensors, StoredForm(files=tuple(files), is_folder=True, companions=companions)

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
        metadata: any JSON value, for a checkpoint that is one safetensors file.

    Raises:
        UserError: a tensor has no place in the form.
    """
    known = {name for file in form.files for name in file.names}
    strange = [name for name in tensors if name not in known]
    if strange:
        raise UserError(f"{path}: tensor {strange[0]!a} has no place in the checkpoint's form")
    if not form.is_folder:
        _write_file(path, form.files[0], tensors, metadata)
        return
    with written_aside(path) as aside:
        aside.mkdir()
        for relative, text in form.companions.items():
            write_text(aside / relative, text)
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
        write_tensors(path, content, metadata, is_foreign=metadata is None)
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


def _companions(folder: Path) -> dict[str, str]:
    """Text files beside the weights, without indices, which are written anew, and the card."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if parts == (CARD_FILE,):
            continue
        is_weights = path.name.endswith((*CHECKPOINT_SUFFIXES, INDEX_SUFFIX))
        if is_weights or any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if path.stat().st_size > MAX_COMPANION_BYTES:
            continue
        try:
            found["/".join(parts)] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found
