"""Folders of weight files that transformers, diffusers, PEFT and accelerate write.

Weights have known names; they lie in one file, in shards with an index, or in a variant
(``model.fp16.safetensors``) of either.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from paramdiff.checkpoints.training_state import is_training_state
from paramdiff.errors import UserError
from paramdiff.storage import read_json

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Read whatever the letters' case, and with ``.tar`` behind them (``model_best.pth.tar``)."""

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
"""What the libraries call their weights; shards have an index of the same name."""

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
    """The suffix by which a file's name speaks of a checkpoint, as written; else nothing."""
    lower = name.lower()
    for suffix in CHECKPOINT_SUFFIXES:
        for ending in (suffix, f"{suffix}.tar"):
            if lower.endswith(ending) and len(name) > len(ending):
                return name[-len(ending) :]
    return ""


def is_library_folder(folder: Path) -> bool:
    """Whether a folder is one checkpoint, as a library wrote it.

    Such a folder has weights of a known name and a configuration, an index, or nothing else that
    could be a checkpoint; what trainers write beside weights, and the weights of accelerate's
    second and further networks (``model_1.safetensors``), do not count.
    """
    names = {entry.name for entry in folder.iterdir()}
    if PIPELINE_INDEX in names or any(map(_is_index, names)):
        return True
    weights = {name for name in names if name in WEIGHT_FILES or _VARIANT.fullmatch(name)}
    others = {
        name
        for name in names - weights - further_networks(names)
        if checkpoint_suffix(name) and not is_training_state(name)
    }
    is_plain = bool(names & set(WEIGHT_FILES)) and not others
    return is_plain or bool(weights and names & CONFIGURATIONS)


def further_networks(names: Iterable[str]) -> set[str]:
    """Files that accelerate writes for the second and further networks that train together."""
    listed = set(names)
    found = {name: _FURTHER.fullmatch(name) for name in listed}
    return {name for name, match in found.items() if match and f"{match[1]}{match[2]}" in listed}


def is_loose_shard(name: str) -> bool:
    """Whether a file is one of several that only an index puts together."""
    return _SHARD.fullmatch(name) is not None


def weight_files(folder: Path) -> Shards:
    """The weight files of a folder.

    Args:
        folder: for which ``is_library_folder`` holds.

    Returns:
        For each its path in the folder, the scope of its names (``unet.``), and the names in it
        where an index tells.

    Raises:
        UserError: there are none, or several variants and none that is plain; or the index is
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
            raise UserError(f"{folder}: expected components with weights, found none")
        return found
    for name in WEIGHT_FILES:
        if (folder / f"{name}{INDEX_SUFFIX}").is_file():
            return _shards(folder / f"{name}{INDEX_SUFFIX}")
        if (folder / name).is_file():
            return [(name, "", None)]
    return _variant(folder)


def unread_weights(folder: Path) -> list[str]:
    """Files of weights in a folder that ``weight_files`` leaves out: variants, other formats."""
    read = {Path(file).name for file, _, _ in weight_files(folder)}
    names = {path.name for path in folder.iterdir() if path.is_file()}
    known = {name for name in names if name in WEIGHT_FILES or _VARIANT.fullmatch(name)}
    return sorted(known - read | further_networks(names))


def variant_index(file: str) -> str:
    """The name of the index of a shard: ``model.fp16-00001-of-00002.safetensors``'s has fp16."""
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
            f"{folder}: expected weights in one variant, found several: {', '.join(found)}; "
            "name one file of weights, or keep one variant in the folder"
        )
    if not found:
        told = ", ".join(WEIGHT_FILES)
        raise UserError(f"{folder}: expected weight files ({told}), found none")
    (name,) = found.values()
    return _shards(folder / name) if name.endswith(".json") else [(name, "", None)]


def _is_index(name: str) -> bool:
    plain = name.endswith(INDEX_SUFFIX) and name.removesuffix(INDEX_SUFFIX) in WEIGHT_FILES
    return plain or _VARIANT_INDEX.fullmatch(name) is not None


def _shards(index: Path) -> Shards:
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index}: expected a weight_map from tensor to file, found none")
    names: dict[str, list[str]] = {}
    for tensor, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise UserError(f"{index}: expected names of files beside it, found {file!a}")
        if Path(file).suffix not in CHECKPOINT_SUFFIXES:
            raise UserError(f"{index}: expected weight files, found {file!a}")
        names.setdefault(file, []).append(tensor)
    return [(file, "", tuple(inside)) for file, inside in sorted(names.items())]
