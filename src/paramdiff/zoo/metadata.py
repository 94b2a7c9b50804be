"""Metadata of a zoo's checkpoints: validation scores, and conditions for generation.

Scores are computed once, after collection and for all checkpoints together, and written beside the
index. The score is accuracy, or the task's own. Conditions are the score, the training step, the
run, and the numbers and labels that the headers of imported checkpoints state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.diffusion.conditioning import Conditions, LabelCondition
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import UserError
from paramdiff.storage import read_json, write_json
from paramdiff.tasks.base import Task
from paramdiff.zoo.zoo import CheckpointEntry, Zoo

SCORES_FILE = "scores.json"


def write_scores(folder: Path, zoo: Zoo, task: Task, device: torch.device) -> None:
    """Write ``scores.json``: the number of validation examples, and the score of each file.

    Args:
        folder: folder of the zoo.
        zoo: its content.
        task: network and validation split.
        device: device to compute on.

    Raises:
        UserError: a checkpoint gives non-finite logits or scores.
    """
    scores_of = validation_scores(task, zoo, device)
    found: dict[str, float] = {}
    for is_held_out, vectors in ((False, zoo.originals), (True, zoo.held_out)):
        scores = scores_of([zoo.layout.unflatten(vector) for vector in vectors])
        entries = [entry for entry in zoo.index.checkpoints if entry.held_out == is_held_out]
        for entry, score in zip(entries, scores, strict=True):
            found[entry.file] = score
    content = {"num_validation": task.num_validation, "score": dict(sorted(found.items()))}
    write_json(folder / SCORES_FILE, content)


def validation_scores(
    task: Task, zoo: Zoo, device: torch.device
) -> Callable[[list[dict[str, Tensor]]], list[float]]:
    """Make a function that scores parameter sets on the validation split.

    Args:
        task: network and validation split.
        zoo: zoo whose base provides the other tensors.
        device: device to compute on.

    Returns:
        A function from parameter sets to their mean scores.
    """
    return task.validation_scorer(zoo.base, zoo.layout.names, device)


@dataclass(frozen=True)
class ZooConditions:
    """The encoded conditions of a zoo's checkpoints.

    Attributes:
        conditions: moments, ranges and labels of the originals.
        originals: ``[N, C]``.
        held_out: ``[H, C]``; labels that no original has are encoded as missing.
    """

    conditions: Conditions
    originals: Tensor
    held_out: Tensor


def zoo_conditions(names: Sequence[str], zoo: Zoo, folder: Path) -> ZooConditions:
    """Encode conditions of a zoo's checkpoints.

    Args:
        names: names of the conditions.
        zoo: originals and held-out checkpoints.
        folder: folder of their zoo, with the scores.

    Returns:
        The conditions.

    Raises:
        UserError: a checkpoint lacks a value, or all have the same.
    """
    entries = zoo.index.checkpoints
    values = {name: _values(name, entries, folder) for name in names}
    learned = [row for row, entry in enumerate(entries) if not entry.held_out]
    conditions = Conditions.fit({name: [v[row] for row in learned] for name, v in values.items()})

    def encode(rows: Sequence[int]) -> Tensor:
        known = [{name: v[row] for name, v in values.items()} for row in rows]
        encoded = [conditions.encode(_without_new_labels(one, conditions)) for one in known]
        return torch.stack(encoded) if encoded else torch.empty(0, conditions.size)

    held_out = [row for row, entry in enumerate(entries) if entry.held_out]
    return ZooConditions(conditions, encode(learned), encode(held_out))


def _values(name: str, entries: Sequence[CheckpointEntry], folder: Path) -> Sequence[Value]:
    if name == "run":
        return _run_names(entries)
    if name == "score":
        path = folder / SCORES_FILE
        scores = read_json(path)["score"]
        known = [scores.get(entry.file) for entry in entries]
    elif name == "step":
        path, known = folder, [entry.step for entry in entries]
    else:
        path, known = folder, [entry.known.get(name) for entry in entries]
    missing = [entry for entry, value in zip(entries, known, strict=True) if value is None]
    if missing:
        which = missing[0].source or missing[0].file
        others = "".join(f"; it has {', '.join(missing[0].known)}" if missing[0].known else "")
        raise UserError(f"{path}: diffusion.conditions: {which} has no {name}{others}")
    if len({isinstance(value, str) for value in known}) > 1:
        raise UserError(
            f"{path}: diffusion.conditions: {name} is a number in some checkpoints and a label in "
            "others"
        )
    return known


def _run_names(entries: Sequence[CheckpointEntry]) -> list[str]:
    """Name each checkpoint's run by its source folder, or by number if folders are ambiguous.

    A folder may stand for a data set, a subset of classes or whatever its name says.
    """
    folders = {entry.run: (entry.source or "").rpartition("/")[0] for entry in entries}
    is_clear = all(folders.values()) and len(set(folders.values())) == len(folders)
    return [folders[entry.run] if is_clear else str(entry.run) for entry in entries]


def _without_new_labels(known: dict[str, Value], conditions: Conditions) -> dict[str, Value]:
    labels = {one.name: one.labels for one in conditions.known if isinstance(one, LabelCondition)}
    return {
        name: value
        for name, value in known.items()
        if name not in labels or str(value) in labels[name]
    }
