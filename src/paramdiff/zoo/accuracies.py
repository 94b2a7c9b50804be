"""The validation accuracy of every checkpoint of a zoo, written beside its index.

Scored once, after collection and for all checkpoints together, never by a pass over data after an
update.
"""

from pathlib import Path

import torch

from paramdiff.artefacts import write_json
from paramdiff.scoring.score import Scorer
from paramdiff.tasks.task import Task
from paramdiff.zoo.zoo import Zoo

ACCURACIES_FILE = "accuracies.json"


def write_accuracies(folder: Path, zoo: Zoo, task: Task, device: torch.device) -> None:
    """Write ``accuracies.json``: the number of validation examples, and file to accuracy.

    Args:
        folder: the zoo's.
        zoo: its content.
        task: the network, and the validation split that scores it.
        device: where to compute.

    Raises:
        UserError: a checkpoint gives logits that are not finite.
    """
    split = task.validation
    scorer = Scorer(task.build_network(), zoo.base, zoo.layout.names, split.inputs, device=device)
    accuracies: dict[str, float] = {}
    for is_held_out, vectors in ((False, zoo.originals), (True, zoo.held_out)):
        labels = scorer.predict([zoo.layout.unflatten(vector) for vector in vectors])
        correct = (labels == split.labels).sum(1)
        entries = [entry for entry in zoo.index.checkpoints if entry.held_out == is_held_out]
        for entry, number in zip(entries, correct.tolist(), strict=True):
            accuracies[entry.file] = number / len(split)
    content = {"num_validation": len(split), "accuracy": dict(sorted(accuracies.items()))}
    write_json(folder / ACCURACIES_FILE, content)
