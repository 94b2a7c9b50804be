"""Checkpoint folders written by transformers, diffusers, PEFT and accelerate.

Weights have known names; they lie in one file, in shards with an index, or in a variant of either
(``model.fp16.safetensors``).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from paramdiff.checkpoints.optimizer_files import is_optimizer_file
from paramdiff.errors import UserError
from paramdiff.storage import read_json

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Suffixes in any case, optionally followed by ``.tar`` (``model_best.pth.tar``)."""

INDEX_SUFFIX = ".index.json"
WEIGHT_FILES = (
    "model.safetensors",
    "adapter_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_lora_weights.safetensors",
    "pytorch_model.bin",
    "adapter_model.bin",
    "diffusion_pytorch_model.bin",
    "pytorch_lora_weights.bin",
)
"""The libraries' names for weight files; an index of shards has the same name."""

CONFIGURATIONS = frozenset({"config.json", "adapter_config.json"})
PIPELINE_INDEX = "model_index.json"

_STEMS = "|".join(sorted({re.escape(name.rpartition(".")[0]) for name in WEIGHT_FILES}))
_KIND = r"(?:fp32|fp16|bf16|fp8|int8|non_?ema|no_?ema|ema|ema_only|pruned)"
_NAMED = rf"(?P<variant>{_KIND}(?:[-_]{_KIND})*)"
_VARIANT = re.compile(rf"(?:{_STEMS})\.{_NAMED}\.(?:safetensors|bin)")
_VARIANT_INDEX = re.compile(rf"(?:{_STEMS})\.(?:safetensors|bin)\.index\.{_NAMED}\.json")
_SHARD = re.compile(r".*-\d{5}-of-\d{5}(\.[\w-]+)?\.(safetensors|bin)")
_FURTHER = re.compile(r"((?:pytorch_)?model)_\d+(\.(?:safetensors|bin))")

Shards = list[tuple[str, str, tuple[str, ...] | None]]


def checkpoint_suffix(name: str) -> str:
    """Return the checkpoint suffix of a file name as written, or an empty string."""
    lower = name.lower()
    for suffix in CHECKPOINT_SUFFIXES:
        for ending in (suffix, f"{suffix}.tar"):
            if lower.endswith(ending) and len(name) > len(ending):
                return name[-len(ending) :]
    return ""


def is_library_folder(folder: Path) -> bool:
    """Check if a folder is one checkpoint of a library.

    Such a folder has weights of a known name and a configuration, an index, or no other possible
    checkpoint; training state and the weights of accelerate's further networks
    (``model_1.safetensors``) do not count.
    """
    names = {entry.name for entry in folder.iterdir()}
    if PIPELINE_INDEX in names or any(map(_is_index, names)):
        return True
    weights = {name for name in names if name in WEIGHT_FILES or _VARIANT.fullmatch(name)}
    others = {
        name
        for name in names - weights - further_networks(names)
        if checkpoint_suffix(name) and not is_optimizer_file(name)
    }
    is_plain = bool(names & set(WEIGHT_FILES)) and not others
    return is_plain or bool(weights and names & CONFIGURATIONS)


def further_networks(names: Iterable[str]) -> set[str]:
    """List files that accelerate writes for the second and further networks of one training."""
    listed = set(names)
    found = {name: _FURTHER.fullmatch(name) for name in listed}
    return {name for name, match in found.items() if match and f"{match[1]}{match[2]}" in listed}


def is_loose_shard(name: str) -> bool:
    """Check if a file is a shard, which needs an index."""
    return _SHARD.fullmatch(name) is not None


def weight_files(folder: Path) -> Shards:
    """List the weight files of a library's folder.

    Args:
        folder: folder that satisfies ``is_library_folder``.

    Returns:
        For each file its relative path, the prefix of its names (``unet.``), and the names that
        an index lists for it, if there is one.

    Raises:
        UserError: there are no weights, or several variants and no default; or the index is
            malformed or leads out of the folder.
    """
    if (folder / PIPELINE_INDEX).is_file():
        found = [
            (f"{child.name}/{file}", f"{child.name}.", names)
            for child in sorted(folder.iterdir())
            if child.is_dir() and not child.name.startswith(".") and is_library_folder(child)
            for file, _, names in weight_files(child)
        ]
        if not found:
            raise UserError(f"{folder}: the pipeline has no components with weights")
        return found
    for name in WEIGHT_FILES:
        if (folder / f"{name}{INDEX_SUFFIX}").is_file():
            return _shards(folder / f"{name}{INDEX_SUFFIX}")
        if (folder / name).is_file():
            return [(name, "", None)]
    return _variant(folder)


def unread_weights(folder: Path) -> list[str]:
    """List weight files that ``weight_files`` leaves out: variants and other formats."""
    read = {Path(file).name for file, _, _ in weight_files(folder)}
    names = {path.name for path in folder.iterdir() if path.is_file()}
    known = {name for name in names if name in WEIGHT_FILES or _VARIANT.fullmatch(name)}
    return sorted(known - read | further_networks(names))


def variant_index(file: str) -> str:
    """Name the index of a shard, which has the shard's variant, such as ``fp16``."""
    stem, _, _ = file.partition("-0")
    suffix = Path(file).suffix
    base, _, variant = stem.partition(".")
    behind = re.fullmatch(r".*-of-\d{5}\.([\w-]+)", Path(file).stem)
    variant = variant or (behind[1] if behind else "")
    return f"{base}{suffix}.index.{variant}.json" if variant else f"{base}{suffix}{INDEX_SUFFIX}"


def _variant(folder: Path) -> Shards:
    names = sorted(entry.name for entry in folder.iterdir())
    found: dict[str, str] = {}
    for name in names:
        match = _VARIANT.fullmatch(name) or _VARIANT_INDEX.fullmatch(name)
        if match:
            found.setdefault(match["variant"], name)
    if len(found) > 1:
        raise UserError(
            f"{folder}: weights in several variants ({', '.join(found)}); pass one weight file, "
            "or keep one variant in the folder"
        )
    if not found:
        known = ", ".join(WEIGHT_FILES)
        raise UserError(f"{folder}: there are no weight files ({known})")
    (name,) = found.values()
    return _shards(folder / name) if name.endswith(".json") else [(name, "", None)]


def _is_index(name: str) -> bool:
    plain = name.endswith(INDEX_SUFFIX) and name.removesuffix(INDEX_SUFFIX) in WEIGHT_FILES
    return plain or _VARIANT_INDEX.fullmatch(name) is not None


def _shards(index: Path) -> Shards:
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index}: the index has no weight_map from tensors to files")
    names: dict[str, list[str]] = {}
    for tensor, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise UserError(f"{index}: {file!a} is not a file beside the index")
        if Path(file).suffix not in CHECKPOINT_SUFFIXES:
            raise UserError(f"{index}: {file!a} is not a weight file")
        names.setdefault(file, []).append(tensor)
    return [(file, "", tuple(inside)) for file, inside in sorted(names.items())]
