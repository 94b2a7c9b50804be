"""Collect a zoo while somebody's own loop trains.

``fit`` and ``compare`` read the folder like any other folder of checkpoints; numbers and labels in
the headers of its files are conditions (``diffusion.conditions=[loss]``). Imports torch and
safetensors alone.

OUT/
  step-00000050.safetensors ...       one training, or
  RUN/step-00000050.safetensors ...   several, each under its name
  base.safetensors                    the complete network, if only selected tensors are recorded
"""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor, nn

from paramdiff.checkpoints.optimizer_files import is_optimizer_file
from paramdiff.checkpoints.recorded import (
    BASE,
    BASE_NAME,
    CHECKPOINT,
    LONGEST_TEXT,
    RECORDER_KEY,
    RESERVED,
    differing_tensors,
    is_label,
    is_recorded_base,
    recorded_metadata,
    refuse_other_network,
)
from paramdiff.checkpoints.tensor_kinds import is_counter
from paramdiff.errors import UserError
from paramdiff.parameters.selection import select as select_names
from paramdiff.storage import FOREIGN_MARK, PARTIAL, StrPath, remove, write_tensors
from paramdiff.zoo.live_state_dict import (
    is_first_process,
    live_state_dict,
    refuse_sharded,
    refuse_unusable,
)

Metric = int | float | str | Tensor

_STEP_FILE = re.compile(r"step-(\d+)\.safetensors")
_RUN_NAME = re.compile(r"[A-Za-z0-9_][\w.=+-]*")
_STEP_NAME = re.compile(r"\d+|.*(?:checkpoint|ckpt|step|epoch|iter|iteration)s?[-_=.]*\d+", re.I)
_FOREIGN = re.compile(r".*\.(?:safetensors|pt|pth|bin|ckpt)(?:\.tar)?", re.I)


class ZooRecorder:
    """Record a network every few steps of a training loop, in a folder that ``fit`` reads.

    Files appear whole or not at all, and nothing but the state dict being written is kept in
    memory. With several processes, only the first one writes. A restarted training continues its
    folder: checkpoints of steps that it repeats with equal values stay, and if the values differ,
    those of the interrupted training from that step on are replaced, with a warning. A training
    from the first step that would repeat recorded steps with other values is refused.

    Args:
        out: folder of the zoo.
        every: record steps that are multiples of this.
        run: name of this training, which gives it a folder of its own in ``out``.
        select: patterns of the tensors to record; all by default. The complete network is then
            recorded once, to complete generated ones.
        start: first step to record.
        keep_last: number of checkpoints of this run to keep; by default all.
        labels: numbers and labels to write into every header, such as a data set's name.

    Raises:
        UserError: an option is wrong, or the folder holds checkpoints that were not recorded.
    """

    def __init__(
        self,
        out: StrPath,
        every: int = 50,
        *,
        run: str | None = None,
        select: Sequence[str] = (),
        start: int = 1,
        keep_last: int | None = None,
        labels: Mapping[str, Metric] | None = None,
    ) -> None:
        _check_count("every", every, 1)
        _check_count("start", start, 0)
        if keep_last is not None:
            _check_count("keep_last", keep_last, 1)
        if run is not None:
            _check_run(run)
        if isinstance(select, str):
            raise UserError(f"select: expected a list of patterns, found {select!r}")
        self.out, self.run, self.every = Path(out), run, every
        self.folder = self.out if run is None else self.out / run
        self._select, self._start, self._keep_last = tuple(select), start, keep_last
        self._labels = _plain_metrics(labels or {}, "labels")
        self._since: int | None = None
        self._last: int | None = None
        self._is_continued = False
        self._has_compared = False
        self._refuse_foreign()

    def is_due(self, step: int) -> bool:
        """Check if ``record`` would write this step."""
        return step >= self._start and step % self.every == 0

    def record(
        self,
        network: nn.Module | Mapping[str, Tensor],
        step: int,
        /,
        *,
        epoch: float | None = None,
        **metrics: Metric,
    ) -> Path | None:
        """Record the network if the step is due; call it after every update.

        Args:
            network: the network, or its complete state dict.
            step: number of updates so far, counted over the whole training.
            epoch: number of passes over the data.
            **metrics: numbers and labels for the header; tensors are read only if the step is due.

        Returns:
            The file; None if the step is not due, or another process writes it.

        Raises:
            UserError: the network is not that of the folder, is sharded, or holds non-finite
                values; the step goes back, or is recorded with other values already; a metric is
                neither a number nor a label; or the disk is full.
        """
        _check_count("step", step, 0)
        if self._last is not None and step < self._last:
            raise UserError(
                f"{self.folder}: step {step} comes after step {self._last}: count the updates of "
                "the whole training, not those of an epoch"
            )
        if self._last is None and isinstance(network, nn.Module):
            refuse_sharded(network)
        is_repeated, self._last = step == self._last, step
        if is_repeated or not is_first_process():
            return None
        if self._since is None:
            self._begin(network, step)
        if not self.is_due(step):
            return None
        tensors = live_state_dict(network)
        refuse_unusable(tensors, step)
        metadata = {
            RECORDER_KEY: CHECKPOINT,
            "step": step,
            "since": self._since,
            "metrics": self._labels | _plain_metrics(metrics, f"step {step}"),
        }
        metadata |= {} if epoch is None else {"epoch": epoch}
        metadata |= {} if self.run is None else {"run": self.run}
        if self._select:
            tensors, metadata["select"] = self._without_frozen(tensors), list(self._select)
        self._write(step, tensors, metadata)
        return self._path(step)

    @property
    def steps(self) -> list[int]:
        """Recorded steps of this run, in order."""
        return _steps_in(self.folder)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"

    def _begin(self, network: nn.Module | Mapping[str, Tensor], step: int) -> None:
        """Compare the first network with the folder, and determine if it is a continuation."""
        self._refuse_foreign()
        tensors = live_state_dict(network)
        names = select_names(tensors, self._select) if self._select else list(tensors)
        example = next(iter(_recorded_files(self.out)), None)
        if example is not None:
            refuse_other_network(example, {name: tensors[name] for name in names})
        for path in self.folder.glob(f"{PARTIAL}step-*"):  # of a program that was killed
            remove(path)
        steps = self.steps
        known = recorded_metadata(self._path(steps[0])).get("since") if steps else step
        self._since = known if isinstance(known, int) else steps[0]
        self._is_continued = step > self._since

    def _write(self, step: int, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        later = [one for one in self.steps if one >= step]
        if later and not (later[0] == step and self._is_recorded(step, tensors)):
            if not self._is_continued:
                raise UserError(
                    f"{self.folder}: step {later[0]} is recorded already, by a training with "
                    "other values: choose another folder, remove this one, or give each training "
                    "a name of its own (run=...)"
                )
            warnings.warn(
                f"{self.folder}: the training resumed before step {later[0]} and went another "
                f"way: {len(later)} checkpoints of the interrupted training, up to step "
                f"{later[-1]}, are replaced",
                stacklevel=4,
            )
            for one in later:
                remove(self._path(one))
            later = []
        if not later:
            write_tensors(
                self._path(step), tensors, metadata, keeps_order=True, header=FOREIGN_MARK
            )
        if self._keep_last is not None:
            for one in self.steps[: -self._keep_last]:
                remove(self._path(one))

    def _is_recorded(self, step: int, tensors: dict[str, Tensor]) -> bool:
        refuse_other_network(self._path(step), tensors)
        return not differing_tensors(self._path(step), tensors)

    def _without_frozen(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the selected tensors; the others must be in the base, which is written once."""
        names = select_names(tensors, self._select)
        base, is_new = self.out / BASE_NAME, not self.steps
        is_written = not base.exists() and self._write_base(base, tensors)
        if not is_written and not self._has_compared:
            self._compare_with_base(base, tensors, names, is_new)
            self._has_compared = not is_new
        return {name: tensors[name] for name in names}

    def _write_base(self, base: Path, tensors: dict[str, Tensor]) -> bool:
        """Write the complete network, unless another run does so meanwhile."""
        base.parent.mkdir(parents=True, exist_ok=True)
        lock = base.with_name(f"{PARTIAL}{BASE_NAME}.lock")
        with FileLock(lock):
            if base.exists():
                return False
            metadata = {RECORDER_KEY: BASE, "select": list(self._select)}
            write_tensors(base, tensors, metadata, keeps_order=True, header=FOREIGN_MARK)
            lock.unlink(missing_ok=True)
        return True

    def _compare_with_base(
        self, base: Path, tensors: dict[str, Tensor], names: Sequence[str], is_new: bool
    ) -> None:
        refuse_other_network(base, tensors)
        rest = {
            name: tensor
            for name, tensor in tensors.items()
            if name not in names and not is_counter(name, tensor)
        }
        changed = differing_tensors(base, rest)
        if changed and is_new:
            raise UserError(
                f"{base}: tensor {changed[0]!r}, which is not selected, has other values in this "
                "run: record runs that share no frozen tensors in folders of their own, or all "
                "tensors"
            )
        if changed:
            warnings.warn(
                f"{base}: {len(changed)} tensors that are not selected change in training "
                f"({', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''}); generated "
                "networks will have those of this file: select them, too, or freeze them",
                stacklevel=5,
            )

    def _refuse_foreign(self) -> None:
        """Refuse folders in which others' checkpoints would be taken for recorded ones."""
        for folder in {self.out, self.folder}:
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                is_own = _STEP_FILE.fullmatch(path.name) or is_recorded_base(path)
                is_hidden = path.name.startswith(".") or path.is_dir()
                if _FOREIGN.fullmatch(path.name) and not is_own and not is_hidden:
                    raise UserError(
                        f"{path}: expected a folder for recorded checkpoints alone, found another "
                        "file of weights: choose a new folder"
                    )
            if folder.exists() and not folder.is_dir():
                raise UserError(f"{folder}: expected a folder, found a file")
        named = [path.parent.name for path in _recorded_files(self.out) if path.parent != self.out]
        if self.run is None and named:
            raise UserError(
                f"{self.out}: holds named runs ({named[0]}, ...): give this one a name, too "
                "(run=...)"
            )
        if self.run is not None and _steps_in(self.out):
            raise UserError(
                f"{self.out}: holds a run without a name: choose another folder, or move its "
                "checkpoints into a subfolder"
            )


def _check_count(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise UserError(f"{name}: expected a whole number of at least {least}, found {value!r}")


def _check_run(run: Any) -> None:
    if not isinstance(run, str) or not _RUN_NAME.fullmatch(run) or is_optimizer_file(run):
        raise UserError(f"run: expected the name of a folder, such as 'seed0', found {run!r}")
    if _STEP_NAME.fullmatch(run):
        raise UserError(f"run: {run!r} reads as a training step: choose a name such as 'seed0'")


def _plain_metrics(metrics: Mapping[str, Any], where: str) -> dict[str, int | float | str]:
    """Convert metrics to JSON values, without non-finite ones."""
    found: dict[str, int | float | str] = {}
    for name, value in metrics.items():
        if name in RESERVED:
            raise UserError(f"{where}: the name {name!r} has a meaning of its own: choose another")
        for text in (name, value) if isinstance(value, str) else (name,):
            if not is_label(text):
                raise UserError(
                    f"{where}: {name!r:.60}: expected one line of at most {LONGEST_TEXT} "
                    "characters"
                )
        if isinstance(value, str):
            found[name] = value
            continue
        try:
            number = value.item() if hasattr(value, "item") else value
        except (ValueError, RuntimeError):
            number = None
        if not isinstance(number, int | float):
            raise UserError(f"{where}: {name}: expected a number or a label, found {value!r:.60}")
        if math.isfinite(number):
            found[name] = int(number) if isinstance(number, bool) else number
        else:
            warnings.warn(f"{where}: {name} is {number} and is left out", stacklevel=3)
    return found


def _steps_in(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    matches = [_STEP_FILE.fullmatch(path.name) for path in folder.iterdir()]
    return sorted(int(match[1]) for match in matches if match)


def _recorded_files(out: Path) -> list[Path]:
    """List one recorded file of each run, the unnamed one first."""
    if not out.is_dir():
        return []
    children = sorted(one for one in out.iterdir() if one.is_dir() and one.name[0] != ".")
    found = [
        min((path for path in folder.iterdir() if _STEP_FILE.fullmatch(path.name)), default=None)
        for folder in (out, *children)
    ]
    return [path for path in found if path is not None]
