"""Recognition of unsupported files and folders: the name of their format, and the next step.

Formats are recognized by magic bytes, by the entries of a zip, and by names; nothing is unpickled.
"""

import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from paramdiff.checkpoints.optimizer_files import is_optimizer_file, is_zero_shard

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""First bytes of files that ``torch.save`` wrote before it wrote zips."""

HEAD_BYTES = 512
MAX_DEPTH, MAX_ENTRIES = 5, 10_000

_CONVERT = "save its weights with torch.save or safetensors first"
_KERAS = f"a Keras (HDF5) file; {_CONVERT}"
_MAGIC = {
    b"version https://git-lfs": "a Git LFS pointer instead of the file; fetch it: git lfs pull",
    b"\x89HDF\r\n": _KERAS,
    b"GGUF": "a GGUF file of llama.cpp; use the safetensors that it was converted from",
    b"\x93NUMPY": "a NumPy array; save tensors by name: "
    "torch.save({NAME: torch.from_numpy(numpy.load(FILE))}, NEW)",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"<!doctype": "a web page; download the file again",
    b"<html": "a web page; download the file again",
}
_NPZ = (
    "NumPy arrays (npz); save them as tensors: "
    "torch.save({k: torch.from_numpy(v) for k, v in numpy.load(FILE).items()}, NEW)"
)
_TENSORFLOW = f"a TensorFlow checkpoint; {_CONVERT}"
_FLAX = (
    "a Flax checkpoint (msgpack); read it with flax.serialization.msgpack_restore and "
    "save its arrays with safetensors.flax.save_file"
)
_PADDLE = f"a Paddle checkpoint; {_CONVERT}"
_SUFFIXES = {
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": f"a Keras archive; {_CONVERT}",
    ".onnx": "an ONNX graph; use the PyTorch checkpoint that it was exported from",
    ".gguf": _MAGIC[b"GGUF"],
    ".ggml": _MAGIC[b"GGUF"],
    ".npz": _NPZ,
    ".npy": _MAGIC[b"\x93NUMPY"],
    ".msgpack": _FLAX,
    ".pdparams": _PADDLE,
    ".tflite": _TENSORFLOW,
    ".pb": _TENSORFLOW,
    ".mlmodel": "a Core ML model; use the PyTorch checkpoint that it was exported from",
    ".sft": "a safetensors file under another name; rename it to end in .safetensors",
}
_TF_DATA = re.compile(r".*\.(data-\d{5}-of-\d{5}|ckpt(-\d+)?\.(index|meta))")

DISTRIBUTED = (
    "a distributed checkpoint (torch.distributed.checkpoint); convert it: "
    "python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR FILE.pt "
    "(the function dcp_to_torch_save)"
)
ZERO_SHARDS = (
    "ZeRO shards of DeepSpeed; gather the weights with the zero_to_fp32.py that DeepSpeed puts "
    "beside them: python zero_to_fp32.py . OUT"
)
MODEL_PARALLEL = (
    "parts of one network by tensor or pipeline parallelism; merge them with the tool of the "
    "library that wrote them (Megatron-LM: tools/checkpoint/convert.py)"
)
ORBAX = f"a checkpoint of Orbax (JAX); {_CONVERT}"


def is_torch_file(path: Path) -> bool:
    """Check by the first bytes, and a zip's entries, if ``torch.save`` wrote a file."""
    head = read_head(path)
    if head.startswith(ZIP_MAGIC):
        return any(name.rpartition("/")[2] == "data.pkl" for name in _zip_names(path))
    return head.startswith(LEGACY_MAGIC)


def is_safetensors_head(head: bytes) -> bool:
    """Check if the first bytes are those of a safetensors file."""
    return head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file; return none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def explain_file(path: Path) -> str | None:
    """Name the format of an unsupported file and the next step.

    Args:
        path: file to examine.

    Returns:
        A phrase that completes "found ..."; None for an unknown format.
    """
    head = read_head(path)
    if not head:
        return "an empty one; copy or download it again"
    for magic, message in _MAGIC.items():
        if head.lower().startswith(magic.lower()):
            return message
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it: tar -xf FILE"
    if head.startswith(ZIP_MAGIC):
        return _explain_zip(path)
    is_torch, is_safetensors = head.startswith(LEGACY_MAGIC), is_safetensors_head(head)
    named_safetensors = path.suffix.lower() == ".safetensors"
    if is_safetensors and not named_safetensors:
        return _SUFFIXES[".sft"]
    if is_torch and named_safetensors:
        return _misnamed()
    if not is_torch and not is_safetensors:
        return explain_name(path.name)
    return None


def explain_name(name: str) -> str | None:
    """Name the unsupported format that a file name indicates, or return None."""
    if name.endswith(".distcp"):
        return DISTRIBUTED
    if is_zero_shard(name):
        return ZERO_SHARDS
    if _TF_DATA.fullmatch(name):
        return _TENSORFLOW
    if name == "_CHECKPOINT_METADATA":
        return ORBAX
    return _SUFFIXES.get(Path(name).suffix.lower())


def explain_folder(folder: Path) -> str | None:
    """Name the content of a folder without checkpoints and the next step.

    Args:
        folder: folder, searched a few levels deep.

    Returns:
        A phrase that completes "found ..."; None if nothing is recognized.
    """
    state: list[str] = []
    for place, names in _walk(folder):
        where = "" if place == Path(".") else f" in {place.as_posix()}"
        for name in names:
            message = explain_name(name)
            if message is not None:
                return f"{name}{where}: {message}"
            if is_optimizer_file(name) and Path(name).suffix:
                state.append(name)
    if state:
        named = ", ".join(sorted(set(state))[:3])
        return (
            f"only training state ({named}); pass the folder with the weights, or save them, too"
        )
    return None


def is_distributed(names: Iterable[str]) -> bool:
    """Check by its entries if a folder is a distributed checkpoint of torch."""
    listed = set(names)
    return ".metadata" in listed or any(name.endswith(".distcp") for name in listed)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder's relative path and file names, a few levels deep."""
    seen = 0
    for place, folders, files in os.walk(folder):
        relative = Path(place).relative_to(folder)
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if len(relative.parts) >= MAX_DEPTH:
            folders.clear()
        yield relative, sorted(one for one in files if not one.startswith("."))
        seen += len(files)
        if seen > MAX_ENTRIES:
            return


def _explain_zip(path: Path) -> str | None:
    names = {name.partition("/")[2] or name for name in _zip_names(path)}
    if "constants.pkl" in names:
        return (
            "a TorchScript archive; save its state dict: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    if "models/model.json" in names or "serialized_exported_program.json" in names:
        return (
            "a program of torch.export; save its state dict: "
            "torch.save(dict(torch.export.load(FILE).state_dict), NEW)"
        )
    if any(name.endswith(".npy") for name in names):
        return _NPZ
    if any(name.endswith(".weights.h5") for name in names):
        return _SUFFIXES[".keras"]
    if "data.pkl" not in names:
        return "another zip archive; unpack it" if names else None
    return _misnamed() if path.suffix.lower() == ".safetensors" else None


def _misnamed() -> str:
    return "a file of torch.save under another name; rename it to end in .pt"


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # a malformed archive makes zipfile raise almost anything
        return []
