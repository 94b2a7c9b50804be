"""Atomic writes of files and folders, and JSON, text and safetensors files.

Everything is written to a name that starts with ``.partial-`` and then renamed, so that a run
killed at any moment leaves the whole artifact or none. Tensors are stored as safetensors with one
metadata key that holds sorted JSON, which keeps the bytes reproducible.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paramdiff.errors import UserError

PARTIAL = ".partial-"
CARD_FILE = "README.md"
"""The model card of the files beside it; shown on a Hub page."""
METADATA_KEY = "paramdiff"
ORDER_KEY = "order"
"""In our metadata: the names of the tensors in their own order, which safetensors sorts."""
DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOTEMPTY)
"""Errors of a full disk, or of a folder that another program has created meanwhile."""
FOREIGN_MARK = {"format": "pt"}
"""Metadata that transformers and diffusers expect of weights saved from torch."""

StrPath = str | os.PathLike[str]


def path_or_none(path: StrPath | None) -> Path | None:
    """Convert an optional path to ``Path``."""
    return None if path is None else Path(path)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder; it is renamed if the block succeeds.

    Args:
        path: the final path; a file there is replaced, a folder must not exist yet.

    Yields:
        The path to write to, in the same folder.

    Raises:
        UserError: the disk is full, or takes no more for another reason.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{PARTIAL}{path.name}")
    remove(aside)
    try:
        yield aside
        os.replace(aside, path)
    except Exception as error:
        reason = _disk_failure(error)
        if reason is None or isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be written: {reason}") from None
    finally:
        remove(aside)


def _disk_failure(error: BaseException | None) -> str | None:
    """Find the disk's error message; libraries hide it in errors of their own."""
    while error is not None:
        # safetensors is written in Rust, and words its errors in either way by its version
        code = re.search(r"(?:\(os error |Os \{ code: )(\d+)", str(error))
        number = error.errno if isinstance(error, OSError) else code and int(code[1])
        if number in DISK_FAILURES:
            return os.strerror(number)
        error = error.__context__
    return None


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(path: Path, target: Path) -> None:
    """Copy a file or a folder to a path that does not exist yet."""
    (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as strict JSON (no NaN, no infinity), atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: the file.

    Returns:
        The value.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: this file is missing") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: this is not JSON ({error})") from None


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text; raise a ``ValueError`` if it is invalid or repeats a key."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is repeated")
        return found

    return json.loads(text, object_pairs_hook=unique)


def write_torch(path: Path, content: Any) -> None:
    """Write a file of ``torch.save`` atomically; its bytes do not depend on its name."""
    import torch

    with written_aside(path) as aside, aside.open("wb") as file:
        torch.save(content, file)


def write_tensors(
    path: Path,
    tensors: Mapping[str, Any],
    metadata: Any = None,
    *,
    keeps_order: bool = False,
    header: Mapping[str, str] | None = None,
) -> None:
    """Write named tensors as one safetensors file, atomically.

    Args:
        path: the file.
        tensors: name to tensor; shared and non-contiguous ones are copied.
        metadata: any JSON value, kept beside the tensors; a mapping or None beside an order.
        keeps_order: keep the order of the tensors.
        header: further metadata for other libraries, some of which require an entry of their own.
            Without ``metadata``, ours is then left out.
    """
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    kept = dict(header or {})
    if keeps_order:
        metadata = {**(metadata or {}), ORDER_KEY: list(plain)}
    if header is None or metadata is not None:
        kept[METADATA_KEY] = json.dumps(metadata, sort_keys=True)
    with written_aside(path) as aside:
        save_file(plain, aside, kept)
        if len(kept) > 1:
            _sort_header(aside)
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)  # safetensors creates files that only their owner can read


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file.

    Args:
        path: the file.

    Returns:
        Name to tensor, in the order in which ``write_tensors`` was given them.

    Raises:
        UserError: the file is missing or malformed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path}: this safetensors file is missing")
    try:
        tensors = load_file(path)
        order = _order(read_header(path))
    except SafetensorError as error:
        reason = ascii(str(error))  # may quote what the file holds
        raise UserError(f"{path}: this is no safetensors file: {reason}") from None
    if set(order) != set(tensors) or len(order) != len(tensors):
        return tensors
    return {name: tensors[name] for name in order}


def _order(header: Mapping[str, str]) -> list[str]:
    """Return the tensor names that a header lists; empty if it lists none."""
    try:
        names = json.loads(header.get(METADATA_KEY, "null"))[ORDER_KEY]
    except (ValueError, RecursionError, TypeError, LookupError):
        return []
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_list else []


def _sort_header(path: Path) -> None:
    """Sort the metadata of a safetensors file, whose order is random otherwise."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        content = json.loads(file.read(size))
        content["__metadata__"] = dict(sorted(content["__metadata__"].items()))
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, "the format writes its header as densely"
        file.seek(8)
        file.write(text.ljust(size))


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file, text to text."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def read_metadata(path: Path) -> Any:
    """Read the JSON value that ``write_tensors`` kept beside the tensors, else None."""
    metadata = json.loads(read_header(path).get(METADATA_KEY, "null"))
    if isinstance(metadata, dict) and ORDER_KEY in metadata:
        metadata = {key: value for key, value in metadata.items() if key != ORDER_KEY} or None
    return metadata


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, or of the names and files of a folder, as hex digits.

    A folder's model card and hidden files are left out: they change no network.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file != path:
            name = file.relative_to(path)
            if name == Path(CARD_FILE) or any(part.startswith(".") for part in name.parts):
                continue
            digest.update(str(name).encode())
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
