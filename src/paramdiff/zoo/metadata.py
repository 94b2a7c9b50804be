"""The validation score of every checkpoint of a zoo, written beside its index.

Scored once, after collection and for all checkpoints together, never by a pass over data after an
update. The score is accuracy, or what the task brings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.diffusion.conditioning import Conditions, LabelCondition
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import UserError
from paramdiff.scoring.predict import Scorer
from paramdiff.storage import read_json, write_json
from paramdiff.tasks.base import AnyTask, Task
from paramdiff.tasks.sequential_scorer import OneByOne
from paramdiff.zoo.zoo import CheckpointEntry, Zoo

SCORES_FILE = "scores.json"


def write_scores(folder: Path, zoo: Zoo, task: AnyTask, device: torch.device) -> None:
    """Write ``scores.json``: the number of validation examples, and file to score.

    Args:
        folder: the zoo's.
        zoo: its content.
        task: the network, and the validation split that scores it.
        device: where to compute.

    Raises:
        UserError: a checkpoint gives logits or scores that are not finite.
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
    task: AnyTask, zoo: Zoo, device: torch.device
) -> Callable[[list[dict[str, Tensor]]], list[float]]:
    """How parameter sets do on the validation split.

    Args:
        task: the network, and the split that scores it.
        zoo: what is not in the sets comes from its base.
        device: where to compute.

    Returns:
        A function from parameter sets to their mean scores.
    """
    if isinstance(task, Task):
        split = task.validation
        scorer = Scorer(
            task.build_network(), zoo.base, zoo.layout.names, split.inputs, device=device
        )
        return lambda sets: [
            number / len(split)
            for number in (scorer.predict(sets) == split.labels).sum(1).tolist()
        ]
    networks = OneByOne(task, zoo.base, device=device)
    return lambda sets: [
        float(scores.values.double().mean()) for scores in networks.scores(sets, "validation")
    ]


@dataclass(frozen=True)
class ZooConditions:
    """The conditions of a zoo's checkpoints, as a denoiser reads them.

    Attributes:
        conditions: moments, ranges and labels of the originals.
        originals: ``[N, C]``.
        held_out: ``[H, C]``; labels that no original has are left open.
    """

    conditions: Conditions
    originals: Tensor
    held_out: Tensor


def zoo_conditions(names: Sequence[str], zoo: Zoo, folder: Path) -> ZooConditions:
    """Look up what is known of a zoo's checkpoints.

    Args:
        names: of the conditions.
        zoo: the checkpoints that are learned from, and those that are held out.
        folder: of the zoo that they come from, with their scores.

    Returns:
        The conditions.

    Raises:
        UserError: a checkpoint has no such value, or all have the same.
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
    else:
        path = folder
        known = [entry.step for entry in entries]
    missing = [entry.file for entry, value in zip(entries, known, strict=True) if value is None]
    if missing:
        raise UserError(f"{path}: diffusion.conditions: {missing[0]} has no {name}")
    return known


def _run_names(entries: Sequence[CheckpointEntry]) -> list[str]:
    """The folder that each checkpoint's run came in, or the run's number where that is not clear.

    A folder per run may stand for a data set, a subset of classes or whatever its name says.
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
