"""The training step of a checkpoint, from its name or content.

Trainers write the step or the epoch into names (``epoch=9-step=40.ckpt``, ``checkpoint-500``),
beside the state dict (``{"epoch": 3, ...}``), into the header of a safetensors file, or into
``trainer_state.json``. Other numbers in a name (a score, a seed) are not taken for a step.
"""

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from paramdiff.checkpoints.library_folders import CHECKPOINT_SUFFIXES, checkpoint_suffix
from paramdiff.checkpoints.read import read_content
from paramdiff.storage import read_json

Scale = Literal["epoch", "step"]

STEP_WORDS = frozenset(
    "step steps globalstep globalsteps gstep iter iters iteration iterations it itr update "
    "updates batch batches".split()
)
EPOCH_WORDS = frozenset("epoch epochs ep e".split())
RUN_WORDS = frozenset(
    "seed run version trial fold replica rep repeat member exp experiment job init".split()
)
"""Words that precede the number of a training run."""

SCORE_WORDS = frozenset(
    "loss acc accuracy score f1 auc map iou miou psnr ssim ppl bleu wer mae mse rmse err error "
    "reward val valid top lr wd".split()
)
"""Words that precede a measured score or a hyperparameter."""

VARIANTS = frozenset("ema swa avg raw online target best last latest final".split())
"""Kinds of checkpoints that one run saves side by side."""

_IN_CONTENT: dict[Scale, tuple[str, ...]] = {
    "step": (
        *("global_step", "step", "steps", "iteration", "iterations", "iter", "iter_num"),
        *("num_updates", "num_steps", "update", "it", "ss_steps"),
    ),
    "epoch": ("epoch", "current_epoch", "ss_epoch"),
}
_BESIDE = ("meta", "metadata", "extra_state", "trainer_state", "training_state", "state", "info")
"""Mappings beside a state dict that may hold the step."""

_NUMBER = re.compile(
    r"([a-z]+)?([=:\-_. ]*)(\d+(?:\.\d+)?(?:e[+-]?\d+)?)([km](?![a-z]))?"
    r"(?:[\-_ ]?(steps?|epochs?|iters?|iterations?|ep)(?![a-z]|[=:\-_. ]*\d))?"
)
_THOUSANDS = {"k": 1e3, "m": 1e6}
_HASH = re.compile(r"(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,}")
TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True)
class NamedNumbers:
    """The numbers in a checkpoint's name.

    Attributes:
        epoch: number beside a word for epochs, or None.
        step: number beside a word for steps, or None.
        runs: words and numbers that identify a run.
        plain: other whole numbers, in order.
        template: the name with a mark in place of every number.
        rest: the name without steps, epochs and fractions.
        fractions: scores and non-integers, with the words before them.
    """

    epoch: float | None
    step: float | None
    runs: tuple[tuple[str, int], ...]
    plain: tuple[int, ...]
    template: str
    rest: str
    fractions: tuple[str, ...]


@lru_cache(maxsize=1 << 14)
def named_numbers(label: str) -> NamedNumbers:
    """Parse the numbers in a name.

    Args:
        label: name of a file or folder, or its path below the run's folder.

    Returns:
        The numbers.
    """
    text = "/".join(_stem(part) for part in label.split("/")).lower()
    text = _HASH.sub("hash", text)
    found: dict[str, float] = {}
    runs: list[tuple[str, int]] = []
    plain: list[int] = []
    fractions: list[str] = []

    def take(match: re.Match[str]) -> str:
        before, between, digits, unit, after = match.groups()
        word = before or ""
        value = float(digits) * _THOUSANDS.get(unit, 1.0)
        if after and word not in STEP_WORDS | EPOCH_WORDS | RUN_WORDS:
            found["epoch" if after.startswith("ep") else "step"] = value
            return f"{word}{between}"
        if word in EPOCH_WORDS or word in STEP_WORDS:
            found["epoch" if word in EPOCH_WORDS else "step"] = value
            return ""
        if "." in digits or word in SCORE_WORDS or not value.is_integer():
            fractions.append(match.group())
            return ""
        if word in RUN_WORDS:
            runs.append((word, int(value)))
        else:
            plain.append(int(value))
        return f"{word}{between}{int(value)}"

    rest = _NUMBER.sub(take, text)
    return NamedNumbers(
        epoch=found.get("epoch"),
        step=found.get("step"),
        runs=tuple(runs),
        plain=tuple(plain),
        template=_NUMBER.sub(r"\1\2#", text),
        rest=_without_variants(rest),
        fractions=tuple(fractions),
    )


def _without_variants(text: str) -> str:
    words = [word for word in re.split(r"[^a-z0-9/]+", text) if word and word not in VARIANTS]
    return "_".join(words)


def _stem(name: str) -> str:
    while name.lower().endswith((*CHECKPOINT_SUFFIXES, ".tar")):
        name = name[: name.rindex(".")]
    return name


def stored_number(path: Path, scale: Scale) -> float | None:
    """Read the step or the epoch from a checkpoint's content.

    Args:
        path: file or folder; read without executing code, and never refused here.
        scale: ``step`` or ``epoch``.

    Returns:
        The number, or None if it is not stored.
    """
    try:
        changed = max(one.stat().st_mtime_ns for one in _sources(path))
    except (OSError, ValueError):
        return None
    return _inside(path, changed).get(scale)


@lru_cache(maxsize=1 << 14)
def _inside(path: Path, changed: int) -> Mapping[Scale, float]:  # changed: invalidates the cache
    for source in _sources(path):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                numbers = _numbers_in(source)
        except Exception:  # damaged or hostile: refused when it is read as a checkpoint
            continue
        if numbers:
            return numbers
    return {}


def _sources(path: Path) -> list[Path]:
    """List files that may hold the step, the likeliest first."""
    if not path.is_dir():
        beside = path.parent / TRAINER_STATE
        is_of_it = path.name in ("model.safetensors", "pytorch_model.bin")
        return [beside, path] if is_of_it and beside.is_file() else [path]
    state = path / TRAINER_STATE
    if state.is_file():
        return [state]
    inside = sorted(one for one in path.iterdir() if one.is_file())
    return [one for one in inside if checkpoint_suffix(one.name)]


def _numbers_in(file: Path) -> dict[Scale, float]:
    if file.suffix == ".json":
        content = read_json(file)
    elif file.suffix.lower() == ".safetensors":
        content = _header(file)
    else:
        content = read_content(file)
    if not isinstance(content, dict):
        return {}
    # by subscript: the file may have set an attribute that shadows a method
    beside = [content[key] for key in _BESIDE if key in content]
    found: dict[Scale, float] = {}
    for place in [content, *(one for one in beside if isinstance(one, dict))]:
        for scale, keys in _IN_CONTENT.items():
            numbers = (_number(place[key]) for key in keys if key in place)
            number = next((one for one in numbers if one is not None), None)
            if number is not None:
                found.setdefault(scale, number)
    return found


def _header(file: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        metadata = dict(opened.metadata() or {})
    for value in list(metadata.values()):
        try:
            nested = json.loads(value)
        except ValueError:
            continue
        if isinstance(nested, dict):
            metadata = nested | metadata
    return metadata


def _number(value: Any) -> float | None:
    if type(value) is str:
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
