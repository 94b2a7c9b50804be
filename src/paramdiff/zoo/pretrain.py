"""Pre-training: all parameters, a cosine, and the epoch that is best on validation data.

The authors take the epoch that is best on test data; so does this where the task's validation
split is its test split (``protocol: paper``).
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.progress import Progress
from paramdiff.storage import read_tensors, write_tensors
from paramdiff.tasks.base import AnyTask
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from paramdiff.zoo.objective import batches_of, validation_score
from paramdiff.zoo.zoo_settings import PretrainingSettings


def pretrained_file(state_folder: Path, number: int) -> Path:
    """Where the finished network of one pretrained lies."""
    return state_folder / f"pretrained-{number}.safetensors"


def pretrain(
    network: nn.Module,
    task: AnyTask,
    settings: PretrainingSettings | None,
    *,
    number: int,
    seed: int,
    device: torch.device,
    state_folder: Path,
    progress: Progress,
) -> dict[str, Tensor]:
    """Train everything.

    Args:
        network: with its initial weights; trained in place.
        task: data, loss and score.
        settings: the protocol; None leaves the network as it is.
        number: of the pretrained, for the names of its files.
        seed: of the order of the data and of augmentation.
        device: where to train.
        state_folder: where unfinished and finished work is kept.
        progress: told updates done and updates in all.

    Returns:
        The state dict of the first epoch that is best on validation data.

    Raises:
        UserError: training diverged, or the task's own score is malformed or not finite.
    """
    if settings is None:
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}
    finished = pretrained_file(state_folder, number)
    if finished.is_file():
        return read_tensors(finished)
    data = batches_of(task, settings.batch_size, f"{seed}/pretraining")
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
        score = validation_score(task, module, device, f"pre-training, update {step}")
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
