"""Reading of untrusted checkpoint files without executing code.

Only the tensors of a state dict are read. Whatever a file can hide behind a pickle, a zip header
or a stride is checked before memory is spent on it, and every refusal is a one-line error. Legacy
(non-zip) files carry no checksum, so a flipped bit in one goes unnoticed.
"""

import io
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paramdiff.checkpoints.container import WRAPPERS, Container, unwrap, without_prefix
from paramdiff.checkpoints.foreign_formats import (
    LEGACY_MAGIC,
    ZERO_SHARDS,
    ZIP_MAGIC,
    explain_file,
)
from paramdiff.checkpoints.optimizer_files import is_optimizer_file
from paramdiff.checkpoints.safe_unpickle import (
    EncodedBytes,
    Placeholder,
    placeholder_globals,
    without_encode_calls,
)
from paramdiff.errors import UserError
from paramdiff.storage import parse_json, read_tensors

INFLATING = b"\nbytearray\n"  # allowed by torch, and expands a few bytes to gigabytes
MAX_HEADER_BYTES = 8 << 20
MAX_SHARING = 64
MAX_MESSAGE = 300
CODE = frozenset({"os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "pickle", "runpy"})
"""Modules that no checkpoint needs and that can run code."""

CALLS = frozenset(f"builtins.{name}" for name in ("eval", "exec", "compile", "open", "__import__"))


def read_file(
    path: Path, state_dict_key: str | None = None
) -> tuple[dict[str, Tensor], Container]:
    """Read one state dict without executing code.

    A state dict in a container (``{"state_dict": ..., "epoch": 3}``) is unwrapped, and prefixes of
    DataParallel and torch.compile that all names share are removed.

    Args:
        path: a safetensors file, by its suffix, or else a file of ``torch.save``.
        state_dict_key: key of the state dict in a file that holds several.

    Returns:
        Name to dense, contiguous tensor on the CPU, without shared memory; and the container.

    Raises:
        UserError: the file is missing, damaged, needs code to load, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's content, which is checked below
            other = explain_file(path)
            if other is not None:
                raise UserError(f"this is no checkpoint file, but {other}")
            is_safetensors = path.suffix.lower() == ".safetensors"
            read = _read_safetensors if is_safetensors else _read_torch
            content, container = unwrap(read(path), state_dict_key)
            tensors, prefix = without_prefix(_dense_tensors(content, path.stat().st_size))
            return tensors, container.model_copy(update={"prefix": prefix})
    except Exception as error:  # a malformed file makes the readers raise almost anything
        message = _message(error, path).removeprefix(f"{path}: ")[:MAX_MESSAGE]
        printable = "".join(c if c.isprintable() else "?" for c in message)
        raise UserError(f"{path}: {printable}") from None


def read_content(path: Path) -> Any:
    """Read the whole content of a ``torch.save`` file without executing code.

    Args:
        path: file to read.

    Returns:
        The saved object, unchecked, with placeholders for values that are neither tensors nor
        plain.
    """
    return _read_torch(path)


def _message(error: Exception, path: Path) -> str:
    if isinstance(error, UserError):
        return str(error)
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and refused:
        return _explain_refused_name(refused[1], path)
    kind = type(error).__name__
    return f"the file is damaged or in an unknown format ({kind})"


def _explain_refused_name(name: str, path: Path) -> str:
    """Explain how to save the tensors alone from a trusted pickle that needs a class."""
    found = f"this pickle holds more than named tensors: it needs {name}"
    if is_optimizer_file(path.name):
        return f"{found}; its name says training state: pass the file with the weights instead"
    if name.startswith("torch.distributed."):
        return (
            f"{found}: one process's shards; gather the weights when saving: "
            "get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))"
        )
    if name.split(".")[0] in CODE or name in CALLS:
        return f"{found}, which runs code: do not load it"
    content = path.read_bytes()  # a zip's entries are uncompressed, as checked before
    is_legacy = not content.startswith(ZIP_MAGIC)
    wrappers = [
        one for one in WRAPPERS if one != "module" or not is_legacy
    ]  # legacy pickles use the word for classes
    key = next((one for one in wrappers if _as_text(one) in content), "")
    is_network = not key or (b"torch.nn.modules" in content and not key.endswith("state_dict"))
    return (
        f"{found}; if you trust the file, save its state dict again: s = torch.load(FILE, "
        f"weights_only=False){f'[{key!r}]' if key else ''}; "
        f"torch.save(s{'.state_dict()' if is_network else ''}, NEW)"
    )


def _as_text(key: str) -> bytes:
    """Encode a string as a pickle of ``torch.save`` does."""
    return b"X" + len(key).to_bytes(4, "little") + key.encode()


def _read_safetensors(path: Path) -> Any:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER_BYTES:
            raise UserError(f"the header of {size} bytes is over {MAX_HEADER_BYTES} bytes")
        header = file.read(size)
    tensors = read_tensors(path)
    try:
        parse_json(header)
    except ValueError as error:  # readers differ in which of two equal names they take
        raise UserError(f"the header is malformed or repeats a name ({error})") from None
    return tensors


def _read_torch(path: Path) -> Any:
    content = path.read_bytes()
    if content.startswith(ZIP_MAGIC):  # as torch decides
        content = _repacked(content)
    elif content.startswith(b"\x80") and not content.startswith(LEGACY_MAGIC):
        raise UserError(
            "this is a pickle, but not one of torch.save; if you trust it, save its "
            "tensors: torch.save({k: torch.as_tensor(v) for k, v in STATE.items()}, NEW)"
        )
    else:
        content = without_encode_calls(content)
    if INFLATING in content:
        raise UserError("this pickle holds more than named tensors: it needs bytearray")
    with placeholder_globals():
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _repacked(content: bytes) -> bytes:
    # torch checks no CRC, inflates before it checks sizes, and may read another central directory
    # of a forged file than zipfile does; so it gets only entries that were checked here.
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w") as target:
        entries = source.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise UserError("the entries of this zip are compressed, not stored")
        if sum(entry.file_size for entry in entries) > len(content):
            raise UserError("the entries of this zip are larger than the file")
        _refuse_names([entry.filename for entry in entries])
        # no CRCs were computed under torch.serialization.set_crc32_options(False)
        has_checksums = any(entry.CRC for entry in entries)
        for entry in entries:
            if not has_checksums:
                entry.CRC = None  # type: ignore[assignment]  # zipfile skips the check
            data = source.read(entry)  # checks the CRC
            if entry.filename.endswith(".pkl"):
                data = without_encode_calls(data)
            target.writestr(zipfile.ZipInfo(entry.filename), data)
    return packed.getvalue()


def _refuse_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise UserError("the zip archive has two entries of one name")
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise UserError(f"the zip entry {name!a} leads out of the archive")


def _dense_tensors(content: dict[Any, Any], file_size: int) -> dict[str, Tensor]:
    if not content:
        raise UserError("the state dict is empty")
    tensors: dict[str, Tensor] = {}
    num_bytes = 0
    for name in content:
        if type(name) is not str:
            raise UserError(f"keys must be strings, but one is of type {type(name).__name__}")
        if not name.isprintable():
            raise UserError(f"names must be printable, but one is {name!a}")
        tensors[name] = _dense_tensor(name, content[name], file_size)
        num_bytes += tensors[name].nbytes
        if num_bytes > MAX_SHARING * file_size:
            raise UserError(
                f"the tensors take {num_bytes} bytes, many more than the file, {file_size}"
            )
    _refuse_gathered_elsewhere(tensors)
    return tensors


def _kind_of(value: Any) -> str:
    """Describe a value that should be a tensor, and the next step."""
    if isinstance(value, Placeholder) and not isinstance(value, EncodedBytes):
        return (
            "a NumPy array or another non-tensor; save tensors: "
            "torch.save({k: torch.as_tensor(v) for k, v in STATE.items()}, NEW)"
        )
    kind = "bytes" if isinstance(value, EncodedBytes) else type(value).__name__
    return (
        f"{kind}; save the tensors alone, {{k: v for k, v in STATE.items() if "
        "torch.is_tensor(v)}, and load generated networks with strict=False"
    )


def _refuse_gathered_elsewhere(tensors: dict[str, Tensor]) -> None:
    """Refuse the empty tensors that ZeRO-3 leaves in a state dict that was not gathered."""
    for name, tensor in tensors.items():
        is_placeholder = name.endswith("weight") and tensor.shape == (0,)
        if is_placeholder or not any(one.numel() for one in tensors.values()):
            raise UserError(f"{name!a} has size 0, as in {ZERO_SHARDS}")


def _dense_tensor(name: str, value: Any, file_size: int) -> Tensor:
    if type(value) not in (Tensor, torch.nn.Parameter):
        raise UserError(f"{name!a} is no tensor, but {_kind_of(value)}")
    tensor = Tensor.detach(
        value
    )  # unbound: a file may have set an attribute that shadows the method
    strided = tensor.layout == torch.strided and not tensor.is_nested
    if not strided or tensor.is_quantized or tensor.device.type != "cpu":
        found = f"{tensor.layout}, {tensor.dtype}, device {tensor.device}"
        raise UserError(f"{name!a} is no dense tensor on the CPU: {found}")
    if tensor.is_floating_point() and tensor.dtype.itemsize == 1:
        raise UserError(f"{name!a} holds {tensor.dtype}, with fewer than 16 bits per number")
    stored = min(tensor.untyped_storage().nbytes(), file_size)
    if tensor.nbytes > stored:
        found = f"{tensor.nbytes} bytes that share {stored}"
        raise UserError(f"{name!a} has no memory of its own: {found}")
    return tensor.clone(memory_format=torch.contiguous_format)
