"""The validation score of every checkpoint of a zoo, written beside its index.

Scored once, after collection and for all checkpoints together, never by a pass over data after an
update. The score is accuracy, or what the task brings.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import write_json
from paramdiff.scoring.score import Scorer
from paramdiff.tasks.one_by_one import OneByOne
from paramdiff.tasks.task import AnyTask, Task
from paramdiff.zoo.zoo import Zoo

ACCURACIES_FILE = "accuracies.json"


def write_accuracies(folder: Path, zoo: Zoo, task: AnyTask, device: torch.device) -> None:
    """Write ``accuracies.json``: the number of validation examples, and file to score.

    Args:
        folder: the zoo's.
        zoo: its content.
        task: the network, and the validation split that scores it.
        device: where to compute.

    Raises:
        UserError: a checkpoint gives logits or scores that are not finite.
    """
    scores_of = validation_scores(task, zoo, device)
    accuracies: dict[str, float] = {}
    for is_held_out, vectors in ((False, zoo.originals), (True, zoo.held_out)):
        scores = scores_of([zoo.layout.unflatten(vector) for vector in vectors])
        entries = [entry for entry in zoo.index.checkpoints if entry.held_out == is_held_out]
        for entry, score in zip(entries, scores, strict=True):
            accuracies[entry.file] = score
    content = {"num_validation": task.num_validation, "accuracy": dict(sorted(accuracies.items()))}
    write_json(folder / ACCURACIES_FILE, content)


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
