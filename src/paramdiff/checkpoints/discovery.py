"""Discovery of checkpoints in a folder.

Folders of trainers hold more than checkpoints: optimizers, a final model at the root beside
``checkpoint-500/``, averages of the weights, logs. Everything that is skipped is reported.
"""

import filecmp
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paramdiff.checkpoints.foreign_formats import MODEL_PARALLEL, explain_folder, is_distributed
from paramdiff.checkpoints.formats import is_checkpoint
from paramdiff.checkpoints.library_folders import (
    CHECKPOINT_SUFFIXES,
    checkpoint_suffix,
    further_networks,
    is_loose_shard,
    unread_weights,
    weight_files,
)
from paramdiff.checkpoints.optimizer_files import is_optimizer_file, is_zero_shard
from paramdiff.checkpoints.recorded import is_recorded_base
from paramdiff.errors import UserError

MAX_DEPTH = 4
"""Levels of subfolders that are searched."""

MAX_NAMED = 4
TRAINING_STATE = "training state"
COMPLETING = "completes the selected tensors of the others"
FURTHER = "subfolders with their own checkpoints: pass them to read them"
_STEP = re.compile(
    r"(?:.*[^a-z])?(?:checkpoint|ckpt|chkpt|global_?step|step|epoch|iter|iteration|it|ep|"
    r"update)s?[-_=. ]*\d+"
)
_COPY = re.compile(r"(?:.*[^a-z])?(?:best|last|final|latest)(?:[^a-z].*)?")
_AVERAGE = re.compile(r"(?:.*[^a-z])?ema(?:[^a-z].*)?")
_RANK = re.compile(r"(^|[-_.])(rank_?|consolidated\.)\d+")


@dataclass
class Discovery:
    """The checkpoints of a folder.

    Attributes:
        runs: checkpoints of each run, unordered.
        skipped: further candidates, each with the reason for skipping it.
    """

    runs: list[list[Path]] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def is_only(self, path: Path) -> bool:
        """Check if a path is the only checkpoint."""
        return self.runs == [[path]]


def discover(folder: Path) -> Discovery:
    """Find the checkpoints of a folder.

    A folder written by a library is one checkpoint, unless it holds step folders
    (``checkpoint-500/``), which form a run. Checkpoints directly in a folder form a run;
    otherwise those of each subfolder do, and folders of single steps (``step_100/weights.pt``)
    form one together.

    Args:
        folder: existing folder.

    Returns:
        At least one run.

    Raises:
        UserError: there is no checkpoint, shards must be merged first, or every step holds
            several networks.
    """
    found = _nearest(folder, MAX_DEPTH)
    if found.runs:
        return found if is_checkpoint(folder) else _with_deeper(folder, found)
    other = explain_folder(folder)
    instead = "" if other is None else f", but {other}"
    suffixes = ", ".join(CHECKPOINT_SUFFIXES)
    raise UserError(f"{folder}: there are no checkpoint files ({suffixes}){instead}")


def describe_skipped(folder: Path, skipped: Iterable[tuple[Path, str]]) -> list[str]:
    """Describe the skipped files and folders.

    Args:
        folder: folder that was searched.
        skipped: skipped paths with their reasons.

    Returns:
        One text per reason.
    """
    reasons: dict[str, list[Path]] = {}
    for path, why in skipped:
        reasons.setdefault(why, []).append(path)
    return [_listed(folder, sorted(set(paths)), why) for why, paths in reasons.items()]


def is_step_folder(name: str) -> bool:
    """Check by its name if a folder holds one step of a run (``checkpoint-500``)."""
    return _STEP.fullmatch(name.lower()) is not None


def _listed(folder: Path, paths: Sequence[Path], why: str) -> str:
    places = {path.parent for path in paths}
    if len(places) > 1:
        names = sorted({path.name for path in paths})
        where = f" in {len(places)} folders"
    else:
        names = [_relative(path, folder) for path in paths]
        where = ""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}{where} ({why})"


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else folder.name or str(folder)


def _nearest(folder: Path, depth: int) -> Discovery:
    """Search level by level for more than a single file or copies of one."""
    best = Discovery()
    for level in range(1, depth + 1):
        found = _search(folder, level)
        if not best.runs or (found.runs != best.runs and _is_lone(best)):
            best = found
        if best.runs and not _is_lone(best):
            break
    return best


def _with_deeper(folder: Path, found: Discovery) -> Discovery:
    """Add subfolders whose checkpoints lie deeper, as further runs or as skipped."""
    known = [*(path for run in found.runs for path in run), *(one for one, _ in found.skipped)]
    seen = {folder / path.relative_to(folder).parts[0] for path in known if path != folder}
    unseen = [one for one in sorted(folder.iterdir()) if _is_open_folder(one) and one not in seen]
    deeper = {child: _nearest(child, MAX_DEPTH - 1) for child in unseen}
    deeper = {child: below for child, below in deeper.items() if below.runs}
    if any(
        path.parent == folder or is_step_folder(path.relative_to(folder).parts[0])
        for run in found.runs
        for path in run
    ):
        beside = [(child, FURTHER) for child in deeper]
        return Discovery(found.runs, [*found.skipped, *beside])
    runs, skipped = list(found.runs), list(found.skipped)
    for below in deeper.values():
        runs += below.runs
        skipped += below.skipped
    return Discovery(runs, skipped)


def _is_lone(found: Discovery) -> bool:
    """Check if only one file, or copies, were found, so that deeper folders may be meant."""
    return len(found.runs) == 1 and _are_few(found.runs[0])


def _are_few(paths: Sequence[Path]) -> bool:
    files = [path for path in paths if path.is_file()]
    are_duplicates = all(_COPY.fullmatch(path.stem.lower()) for path in files)
    return len(files) == len(paths) and (len(files) == 1 or are_duplicates)


def _search(folder: Path, depth: int) -> Discovery:
    names = {path.name for path in folder.iterdir()}
    if is_distributed(names):
        return Discovery()
    _refuse_parts(folder, names)
    children = sorted(path for path in folder.iterdir() if _is_open_folder(path))
    if is_checkpoint(folder):
        return _library_folder(folder, children, depth)
    files, skipped = _files(folder)
    below = {child: _search(child, depth - 1) for child in children} if depth else {}
    below = {child: found for child, found in below.items() if found.runs}
    run, used = _folders(folder, below, skipped)
    rest = {child: found for child, found in below.items() if child not in used}
    return _chosen(files, run, rest, skipped)


def _library_folder(folder: Path, children: Sequence[Path], depth: int) -> Discovery:
    steps = {
        child: _search(child, max(depth, 1)) for child in children if is_step_folder(child.name)
    }
    steps = {child: found for child, found in steps.items() if found.runs}
    beside: list[tuple[Path, str]] = []
    run, _ = _folders(folder, steps, beside)
    if run:
        return Discovery([run], [*beside, (folder, _root_in_words(folder, run))])
    names = {path.name for path in folder.iterdir()}
    beside = [(folder / name, TRAINING_STATE) for name in names if _is_state_file(folder / name)]
    others = "weights in another format than those that are read"
    beside += [(folder / name, others) for name in _unread(folder)]
    more = "weights of a further network: pass them to read them"
    beside += [(folder / name, more) for name in further_networks(names)]
    return Discovery([[folder]], beside)


def _unread(folder: Path) -> list[str]:
    try:
        return unread_weights(folder)
    except UserError:  # raised with the checkpoint's path when it is read
        return []


def _root_in_words(folder: Path, run: Sequence[Path]) -> str:
    """Say if the model at the root is a copy of a checkpoint below it."""
    for path in sorted(run, key=lambda one: one.stat().st_mtime, reverse=True):
        inside = path.relative_to(folder).parts[1:]  # unet, of checkpoint-10/unet
        own, others = _weights_of(folder.joinpath(*inside)), _weights_of(path)
        same = [one.name for one in own] == [one.name for one in others]
        if own and same and all(map(_are_equal, own, others)):
            return f"the model at the root: a copy of {_relative(path, folder)}"
    return (
        "the model at the root: no copy of a checkpoint below it; to add it, pass its weight "
        "file beside them"
    )


def _weights_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return [folder]
    try:
        return [folder / file for file, _, _ in weight_files(folder)]
    except UserError:
        return []


def _are_equal(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _files(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """List checkpoint files directly in a folder, and the skipped files beside them."""
    listed = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_file())
    state = [path for path in listed if _is_state_file(path)]
    bases = [path for path in listed if is_recorded_base(path)]
    files = [path for path in listed if path not in [*state, *bases] and is_checkpoint(path)]
    shards = [path for path in files if is_loose_shard(path.name)]
    if shards:
        raise UserError(
            f"{shards[0]}: the index of the shards (NAME.index.json) is missing; copy it, too"
        )
    averages = [path for path in files if _AVERAGE.fullmatch(path.stem.lower())]
    if len(averages) == len(files):
        averages = []
    skipped = [(path, TRAINING_STATE) for path in state]
    skipped += [(path, COMPLETING) for path in bases]
    skipped += [(path, "averages of weights: pass them to read them") for path in averages]
    return [path for path in files if path not in averages], skipped


def _folders(
    folder: Path, below: dict[Path, Discovery], skipped: list[tuple[Path, str]]
) -> tuple[list[Path], set[Path]]:
    """Find the subfolders that form a run together, and all subfolders that are handled."""
    own = {child for child, found in below.items() if found.is_only(child)}
    averages = {child for child in own if _AVERAGE.fullmatch(child.name.lower())}
    if averages and averages != own:
        skipped += [(child, "averages of weights: pass them to read them") for child in averages]
        own -= averages
    else:
        averages = set()
    for child in own:
        skipped += below[child].skipped
    steps = {
        child: below[child] for child in below if is_step_folder(child.name) and child not in own
    }
    if not steps or own & {child for child in below if is_step_folder(child.name)}:
        return sorted(own), own | averages
    _refuse_several(folder, steps)
    inside = {child: found.runs[0][0] for child, found in steps.items() if _has_one(found)}
    if len(inside) < len(steps):
        return sorted(own), own | averages
    for found in steps.values():
        skipped += found.skipped
    skipped += [(child, "another checkpoint beside the step folders") for child in own]
    return sorted(inside.values()), {*own, *steps, *averages}


def _has_one(found: Discovery) -> bool:
    return len(found.runs) == 1 and len(found.runs[0]) == 1


def _refuse_several(folder: Path, steps: dict[Path, Discovery]) -> None:
    """Refuse step folders that hold several networks each."""
    for child, found in steps.items():
        paths = [path for run in found.runs for path in run]
        if len(paths) > 1 and all(
            path.is_dir() and not is_step_folder(path.name) for path in paths
        ):
            names = sorted(_relative(path, child) for path in paths)
            raise UserError(
                f"{child}: weights of several networks ({', '.join(names[:MAX_NAMED])}); choose "
                f"one by a pattern: '{folder}/*/{names[0]}'"
            )


def _chosen(
    files: list[Path],
    run: list[Path],
    rest: dict[Path, Discovery],
    skipped: list[tuple[Path, str]],
) -> Discovery:
    """Choose the files of a folder, the run of its subfolders, or the runs inside them."""
    if files and not (_are_few(files) and (run or rest)):
        beside = [(path, FURTHER) for path in (*run, *rest)]
        return Discovery([files], [*skipped, *beside])
    skipped = [
        *skipped,
        *((path, "beside folders of checkpoints: pass it to read it") for path in files),
    ]
    if run and not (len(run) == 1 and rest):
        return Discovery([run], [*skipped, *((path, FURTHER) for path in rest)])
    skipped += [(path, "beside folders of checkpoints: pass it to read it") for path in run]
    for found in rest.values():
        skipped += found.skipped
    return Discovery([one for found in rest.values() for one in found.runs], skipped)


def _refuse_parts(folder: Path, names: Iterable[str]) -> None:
    """Refuse a checkpoint that is split by process or by model parallelism."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        split = _RANK.search(name)
        is_candidate = checkpoint_suffix(name) or (folder / name).is_dir()
        if split and is_candidate and not is_optimizer_file(name) and not is_zero_shard(name):
            kinds.setdefault(_RANK.sub(r"\1\2", name), []).append(name)
    for parts in kinds.values():
        if len(parts) > 1:
            raise UserError(
                f"{folder}: there are no whole checkpoints, but {', '.join(parts[:MAX_NAMED])}: "
                f"{MODEL_PARALLEL}"
            )


def _is_state_file(path: Path) -> bool:
    is_kept = is_optimizer_file(path.name) or is_zero_shard(path.name)
    return is_kept and (checkpoint_suffix(path.name) != "" or path.suffix == ".pkl")


def _is_open_folder(path: Path) -> bool:
    is_other = is_optimizer_file(path.name) or path.name == "__MACOSX"
    is_other |= path.name in ("blobs", "refs") and (path.parent / "snapshots").is_dir()
    return path.is_dir() and not path.name.startswith(".") and not is_other
