"""A folder of somebody's checkpoints to a zoo.

Files are read without executing code (``files.py``). All must hold the same tensors in the same
shapes; the first one completes whatever is not selected, unless a base checkpoint is given.
"""

from pathlib import Path

from torch import Tensor

from paramdiff.artefacts import sha256_of
from paramdiff.checkpoints.files import (
    CHECKPOINT_SUFFIXES,
    list_checkpoints,
    natural_order,
    read_checkpoint,
)
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.zoo.zoo import HoldOutRule, write_zoo


def import_folder(
    source: Path,
    zoo_folder: Path,
    patterns: tuple[str, ...],
    *,
    base: Path | None = None,
    num_held_out: int = 0,
) -> None:
    """Import the checkpoints of a folder, in the natural order of their names.

    Args:
        source: a folder of ``.safetensors``, ``.pt``, ``.pth``, ``.bin`` or ``.ckpt`` files. Its
            sub-folders, where it has any and no files of its own, are separate runs.
        zoo_folder: where the zoo is written.
        patterns: which tensors to select.
        base: a complete checkpoint for what is not selected; the first checkpoint by default.
        num_held_out: how many checkpoints of the tail to hold out; with several runs the last run
            is held out instead.

    Raises:
        UserError: a file cannot be read, differs in names or shapes, or holds values that are not
            finite; or too few checkpoints remain.
    """
    runs = list_runs(source)
    paths = [(run, path) for run, files in enumerate(runs) for path in files]
    first = read_checkpoint(paths[0][1])
    layout = ParameterLayout.of(first, select(first, patterns))
    vectors, entries = [], []
    for number, (run, path) in enumerate(paths):
        checkpoint = first if number == 0 else read_checkpoint(path)
        _check_same(first, checkpoint, paths[0][1], path)
        vectors.append(layout.flatten(checkpoint, str(path)))
        entries.append(
            {"step": number, "run": run, "held_out": False}
            | {"source": str(path.relative_to(source)), "source_sha256": sha256_of(path)}
        )
    hold_out = _hold_out(entries, len(runs), num_held_out, source)
    complete = read_checkpoint(base) if base is not None else first
    missing = [name for name in layout.names if name not in complete]
    if missing:
        raise UserError(f"{base}: tensor {missing[0]!r}, which is selected, is missing")
    write_zoo(zoo_folder, vectors, entries, layout, complete, hold_out)


def list_runs(source: Path) -> list[list[Path]]:
    """The checkpoint files of each run: those of the folder, or of each of its sub-folders."""
    if not source.is_dir():
        raise UserError(f"{source}: expected a folder of checkpoints, found none")
    folders = [p for p in source.iterdir() if p.is_dir() and not p.name.startswith(".")]
    children = sorted(folders, key=natural_order)
    has_checkpoints = any(p.suffix in CHECKPOINT_SUFFIXES for p in source.iterdir())
    if has_checkpoints or not children:
        return [list_checkpoints(source)]
    return [list_checkpoints(child) for child in children]


def _check_same(
    first: dict[str, Tensor], other: dict[str, Tensor], first_path: Path, path: Path
) -> None:
    for name in [*first, *other]:
        if name not in other or name not in first:
            has_it, lacks_it = (first_path, path) if name in first else (path, first_path)
            raise UserError(f"{lacks_it}: tensor {name!r} is missing, which {has_it.name} has")
        if first[name].shape != other[name].shape:
            raise UserError(
                f"{path}: tensor {name!r} has shape {list(other[name].shape)}, but "
                f"{list(first[name].shape)} in {first_path.name}"
            )


def _hold_out(entries: list[dict], num_runs: int, num_held_out: int, source: Path) -> HoldOutRule:
    if num_runs > 1:
        for entry in entries:
            entry["held_out"] = entry["run"] == num_runs - 1
        return "run"
    if num_held_out == 0:
        return "none"
    if num_held_out >= len(entries):
        raise UserError(
            f"collection.num_held_out: expected fewer than the {len(entries)} checkpoints of "
            f"{source}, found {num_held_out}"
        )
    for entry in entries[-num_held_out:]:
        entry["held_out"] = True
    return "tail"
