"""Pre-training: all parameters, a cosine, and the epoch that is best on validation data.

The authors take the epoch that is best on test data; so does this where the task's validation
split is its test split (``protocol: paper``).
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.artefacts import read_tensors, write_tensors
from paramdiff.engine import Optimisation, train
from paramdiff.tasks.task import Task
from paramdiff.zoo.classification import ShuffledBatches, evaluate_accuracy, training_logits
from paramdiff.zoo.settings import PretrainingSettings


def trunk_file(state_folder: Path, number: int) -> Path:
    """Where the finished network of one trunk lies."""
    return state_folder / f"trunk-{number}.safetensors"


def pretrain(
    network: nn.Module,
    task: Task,
    settings: PretrainingSettings | None,
    *,
    number: int,
    seed: int,
    device: torch.device,
    state_folder: Path,
    progress: Callable[[int, int], None],
) -> dict[str, Tensor]:
    """Train everything.

    Args:
        network: with its initial weights; trained in place.
        task: data.
        settings: the protocol; None leaves the network as it is.
        number: of the trunk, for the names of its files.
        seed: of the order of the data and of augmentation.
        device: where to train.
        state_folder: where unfinished and finished work is kept.
        progress: told updates done and updates in all.

    Returns:
        The state dict of the first epoch that is best on validation data.
    """
    if settings is None:
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}
    finished = trunk_file(state_folder, number)
    if finished.is_file():
        return read_tensors(finished)
    data = ShuffledBatches(task, settings.batch_size, f"{seed}/pretraining")
    optimisation = Optimisation(
        num_steps=settings.epochs * data.steps_per_pass,
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        optimiser=settings.optimiser,
    )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        rows = data.rows(step)
        inputs = data.inputs(rows, generator)
        return data.loss(training_logits(module, inputs, generator), rows)

    best: dict = {"accuracy": -1.0, "state": {}}

    def keep_best(step: int, module: nn.Module) -> None:
        if (step + 1) % data.steps_per_pass:
            return
        accuracy = evaluate_accuracy(module, task.validation, device)
        if accuracy > best["accuracy"]:
            state = {name: tensor.cpu().clone() for name, tensor in module.state_dict().items()}
            best.update(accuracy=accuracy, state=state)

    network.train()
    train(
        network,
        loss,
        optimisation,
        seed=seed,
        device=device,
        updates_per_rate=data.steps_per_pass if settings.decay == "epoch" else 1,
        state_file=state_folder / f"pretraining-{number}.pt",
        progress=progress,
        after_step=keep_best,
        recorded=best,
    )
    write_tensors(finished, best["state"])
    return best["state"]
