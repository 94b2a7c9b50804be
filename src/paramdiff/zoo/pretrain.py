"""Pretraining of all parameters, keeping the epoch that is best on validation data.

The authors keep the epoch that is best on test data, as this does if the task's validation split
is its test split (``protocol: paper``).
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.progress import Progress
from paramdiff.storage import read_tensors, write_tensors
from paramdiff.tasks.base import Task
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from paramdiff.zoo.epoch_batches import EpochBatches, validation_score
from paramdiff.zoo.zoo_settings import PretrainingSettings


def pretrained_file(state_folder: Path, number: int) -> Path:
    """Return the path of a finished pretrained network."""
    return state_folder / f"pretrained-{number}.safetensors"


def pretrain(
    network: nn.Module,
    task: Task,
    settings: PretrainingSettings | None,
    *,
    number: int,
    seed: int,
    device: torch.device,
    state_folder: Path,
    progress: Progress,
) -> dict[str, Tensor]:
    """Train all parameters.

    Args:
        network: network with its initial weights; trained in place.
        task: data, loss and score.
        settings: training protocol; None leaves the network as it is.
        number: number of the pretrained network, for its file names.
        seed: seed of data order and augmentation.
        device: device to train on.
        state_folder: folder for unfinished and finished work.
        progress: called with the updates done and the total.

    Returns:
        The state dict of the first epoch with the best validation score.

    Raises:
        UserError: training diverged, or a custom score is malformed or not finite.
    """
    if settings is None:
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}
    finished = pretrained_file(state_folder, number)
    if finished.is_file():
        return read_tensors(finished)
    data = EpochBatches(task, settings.batch_size, f"{seed}/pretraining")
    optimization = Optimization(
        num_steps=settings.epochs * data.steps_per_epoch,
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        optimizer=settings.optimizer,
    )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        return data.training_loss(module, data.rows(step), generator)

    best: dict = {"score": -math.inf, "state": {}}

    def keep_best(step: int, module: nn.Module) -> None:
        if (step + 1) % data.steps_per_epoch:
            return
        score = validation_score(task, module, f"pre-training, update {step}")
        if score > best["score"]:
            state = {name: tensor.cpu().clone() for name, tensor in module.state_dict().items()}
            best.update(score=score, state=state)

    network.train()
    train(
        network,
        loss,
        optimization,
        seed=seed,
        device=device,
        updates_per_rate=data.steps_per_epoch if settings.decay == "epoch" else 1,
        state_file=state_folder / f"pretraining-{number}.pt",
        progress=progress,
        after_step=keep_best,
        recorded=best,
    )
    write_tensors(finished, best["state"], keeps_order=True)
    return best["state"]
