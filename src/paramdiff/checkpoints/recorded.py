"""Metadata of recorded checkpoints: step, run, numbers and labels in a safetensors header.

``ZooRecorder`` writes them, ``fit`` and ``compare`` read them. A recorder that keeps only selected
tensors writes the complete network once, as ``base.safetensors`` beside the checkpoints, or one
folder above them if they belong to a named run.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.storage import METADATA_KEY, read_header

BASE_NAME = "base.safetensors"
"""File name of the complete network beside checkpoints of selected tensors."""
RECORDER_KEY = "recorder"
CHECKPOINT, BASE = "checkpoint", "base"
"""Values of ``RECORDER_KEY`` in our metadata: the two kinds of files."""
RESERVED = ("step", "epoch", "run")
"""Names with a meaning of their own, which no metric can have."""
OWN_FOLDER = "record another network, or another selection, in a folder of its own"
LONGEST_TEXT = 200
"""Characters of a name or a label that are read."""


def recorded_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of a file that a recorder wrote.

    Args:
        path: any path; a damaged file is never refused here.

    Returns:
        The metadata; empty if the file is missing or somebody else's.
    """
    content = _own(_header(path))
    return content if content.get(RECORDER_KEY) in (CHECKPOINT, BASE) else {}


def recorded_values(path: Path) -> dict[str, int | float | str]:
    """Read the numbers and labels that the header of a checkpoint states.

    Args:
        path: any path; other files than safetensors have none.

    Returns:
        Name to value: a recorder's metrics, labels and epoch; from other headers, the numbers.
    """
    header = _header(path)
    own = _own(header)
    found: dict[str, Any] = {
        name: _number(text) for name, text in header.items() if name != METADATA_KEY
    }
    if own.get(RECORDER_KEY) == CHECKPOINT:
        metrics = own.get("metrics")
        found |= metrics if isinstance(metrics, dict) else {}
        found["epoch"] = own.get("epoch")
    return {
        name: value
        for name, value in found.items()
        if is_label(name) and (_is_number(value) or is_label(value))
    }


def is_label(value: Any) -> bool:
    """Check if a value is read as a name or a label: one short line of text."""
    return type(value) is str and value.isprintable() and 0 < len(value) <= LONGEST_TEXT


def is_recorded_base(path: Path) -> bool:
    """Check if a file is the complete network that a recorder wrote beside its checkpoints."""
    return path.name == BASE_NAME and recorded_metadata(path).get(RECORDER_KEY) == BASE


def recorded_base(paths: Iterable[Path]) -> Path | None:
    """Find the complete network beside recorded checkpoints of selected tensors.

    Args:
        paths: checkpoints.

    Returns:
        Its path; None if the checkpoints are complete or were not recorded.

    Raises:
        UserError: it is missing, or the checkpoints have several.
    """
    examples = {path.parent: path for path in paths if recorded_metadata(path).get("select")}
    bases = set()
    for folder, path in examples.items():
        above = Path(os.path.normpath(folder / ".." / BASE_NAME))
        base = next(filter(is_recorded_base, (folder / BASE_NAME, above)), None)
        if base is None:
            raise UserError(
                f"{path}: holds selected tensors only, and {BASE_NAME}, which completes them, is "
                "missing; copy it, too, or pass another complete checkpoint by --base-checkpoint"
            )
        bases.add(base)
    if len(bases) > 1:
        names = ", ".join(sorted(map(str, bases)))
        raise UserError(
            f"the checkpoints are completed by different files ({names}); choose one by "
            "--base-checkpoint"
        )
    return next(iter(bases), None)


def refuse_other_network(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors with those of a recorded file.

    Args:
        path: file that a recorder wrote.
        tensors: name to tensor.

    Raises:
        UserError: names, shapes or types differ, or the file is somebody else's.
    """
    if not recorded_metadata(path):
        raise UserError(f"{path}: expected a recorded checkpoint, found another file: remove it")
    with safe_open(path, "pt") as file:
        known = {name: file.get_tensor(name) for name in file.keys()}  # mapped, not read
        for name in [*tensors, *known]:
            if name not in known or name not in tensors:
                has = "has no" if name in tensors else "has a"
                raise UserError(
                    f"{path}: {has} tensor {name!r}, unlike the network at hand: {OWN_FOLDER}"
                )
            found, own = (_describe(one[name]) for one in (known, tensors))
            if found != own:
                raise UserError(f"{path}: tensor {name!r} is {found}, and now {own}: {OWN_FOLDER}")


def _describe(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def differing_tensors(path: Path, tensors: Mapping[str, Tensor]) -> list[str]:
    """List the names of tensors whose values differ from a file's, reading one at a time."""
    with safe_open(path, "pt") as file:
        return [
            name
            for name, tensor in tensors.items()
            if not torch.equal(file.get_tensor(name), tensor.detach().cpu())
        ]


def _header(path: Path) -> Mapping[str, str]:
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return {}
    try:
        return read_header(path)
    except Exception:  # damaged or hostile: refused when it is read as a checkpoint
        return {}


def _own(header: Mapping[str, str]) -> dict[str, Any]:
    try:
        content = json.loads(header.get(METADATA_KEY, "null"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False
