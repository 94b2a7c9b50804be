"""The files beside the weights in a checkpoint's folder that generated checkpoints need, too.

Configuration, vocabulary and code of the network are copied verbatim: small texts travel within
the checkpoint format, everything else as files beside it that are never held in memory. Training
state, logs and checkpoints in subfolders concern the original alone and are left out, as are
binary files that no tokenizer reads.
"""

import codecs
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from paramdiff.storage import CARD_FILE

MAX_INLINE_BYTES = 1 << 18
MAX_STATE_BYTES = 1 << 26
"""Maximum size of a JSON file that is searched for training state."""
TEXT_PROBE_BYTES = 1 << 16

STATE_FILES = (
    "trainer_state.json",
    "training_args.*",
    "train_args.json",
    "trainer_log.jsonl",
    "*_results.json",
    "all_results.*",
    "optimizer*",
    "scheduler.pt*",
    "scheduler.bin",
    "rng_state*",
    "random_states*",
    "scaler.pt",
    "dataloader*.bin",
    "sampler*.bin",
    "events.out.tfevents.*",
    "zero_to_fp32.py",
    "latest",
    "*.log",
)
STATE_FOLDERS = (
    "checkpoint-*",
    "global_step*",
    "runs",
    "logs",
    "wandb",
    "tensorboard",
    "lightning_logs",
)
STATE_KEYS = frozenset({"log_history", "best_model_checkpoint", "trial_params", "train_runtime"})
"""Keys of a JSON mapping that mark it as training state."""
BINARY_FILES = (
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.bpe",
    "*.vocab",
    "*.fst",
    "*.dict",
    "*.trie",
    "*.marisa",
)
"""Files of tokenizers that may be binary."""


@dataclass(frozen=True)
class ExtraFiles:
    """The files beside a checkpoint's weights.

    Attributes:
        texts: small texts, relative path to content.
        files: relative paths of the other files to copy.
        left_out: relative paths of files that are not copied.
    """

    texts: dict[str, str]
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def find_extra_files(
    folder: Path, written: tuple[str, ...], components: Iterable[Path]
) -> ExtraFiles:
    """Sort the files of a checkpoint's folder.

    Args:
        folder: folder of the checkpoint.
        written: suffixes of weights and their indices, which are written separately.
        components: subfolders that belong to the checkpoint although they hold weights.

    Returns:
        The files to copy and those left out; the model card and hidden files are neither.
    """
    own = set(components)
    texts: dict[str, str] = {}
    files: list[str] = []
    left_out: list[str] = []
    for path in _files(folder, written, own, left_out, folder):
        relative = path.relative_to(folder).as_posix()
        if relative == CARD_FILE:
            continue
        if path.name.endswith(written):
            if any(fnmatchcase(path.name, pattern) for pattern in STATE_FILES):
                left_out.append(relative)
            continue
        if _is_state(path):
            left_out.append(relative)
            continue
        text = _small_text(path)
        if text is not None:
            texts[relative] = text
        elif _is_text(path) or any(fnmatchcase(path.name, one) for one in BINARY_FILES):
            files.append(relative)
        else:
            left_out.append(relative)
    return ExtraFiles(texts, tuple(files), tuple(sorted(left_out)))


def copy_files(source: Path, target: Path, files: Iterable[str]) -> None:
    """Copy files by their relative paths, creating folders and following links."""
    for relative in files:
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / relative, target / relative)


def _files(
    folder: Path, written: tuple[str, ...], own: set[Path], left_out: list[str], top: Path
) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not path.is_symlink():
            is_state = any(fnmatchcase(path.name, pattern) for pattern in STATE_FOLDERS)
            if is_state or (path not in own and _holds(path, written)):
                left_out.append(f"{path.relative_to(top).as_posix()}/")
            else:
                yield from _files(path, written, own, left_out, top)


def _holds(folder: Path, written: tuple[str, ...]) -> bool:
    """Check if a folder has weights, which makes it another checkpoint."""
    return any(path.name.endswith(written) for path in folder.iterdir() if path.is_file())


def _is_state(path: Path) -> bool:
    if any(fnmatchcase(path.name, pattern) for pattern in STATE_FILES):
        return True
    if path.suffix != ".json" or path.stat().st_size > MAX_STATE_BYTES:
        return False
    if path.stat().st_size > MAX_INLINE_BYTES and "token" in path.name:
        return False  # large vocabularies are slow to parse
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(STATE_KEYS & content.keys())


def _small_text(path: Path) -> str | None:
    if path.stat().st_size > MAX_INLINE_BYTES:
        return None
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_text(path: Path) -> bool:
    """Check if a file starts with text."""
    with path.open("rb") as file:
        start = file.read(TEXT_PROBE_BYTES)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the end may cut a character
    except UnicodeDecodeError:
        return False
    return b"\0" not in start
