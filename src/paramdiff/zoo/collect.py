"""Train a network, freeze all but the selected parameters, fine-tune and keep checkpoints.

The protocol of method.md 3.1: pre-train; then fine-tune only what is selected, at a constant
learning rate, and save it after every update. Two differences, both for honesty: the pre-trained
network is the epoch that is best on validation data, where the authors used the test set; and
checkpoints that train nothing are held out (a separate run, or the tail of the only one).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.artefacts import read_tensors, write_tensors
from paramdiff.engine import Optimisation, seeded_generator, train
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.scoring.inputs import batches
from paramdiff.settings import Settings
from paramdiff.tasks.task import Split, Task, seeded_network
from paramdiff.zoo.zoo import HoldOutRule, write_zoo

Report = Callable[[str, int, int], None]
"""Told the name of the work, steps done and steps in all."""


class PretrainingSettings(Settings):
    """How all parameters are trained from scratch."""

    epochs: int = Field(gt=0, description="passes over the training data")
    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="initial learning rate, decayed by a cosine to 0")
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="update rule")


class FineTuningSettings(Settings):
    """How the selected parameters move while checkpoints are kept."""

    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="learning rate")
    final_lr: float | None = Field(
        None, gt=0, description="cosine decay to this; none is constant"
    )
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="update rule")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the forward pass")
    mode: Literal["train", "eval"] = Field(
        "train", description="whether normalisation layers use batch or running statistics"
    )


class CollectionSettings(Settings):
    """How a zoo is collected by training."""

    kind: Literal["train"] = "train"
    pretraining: PretrainingSettings = Field(description="from scratch to the trunk")
    fine_tuning: FineTuningSettings = Field(description="from the trunk to the checkpoints")
    num_checkpoints: int = Field(300, gt=0, description="checkpoints to learn from")
    num_held_out: int = Field(50, ge=0, description="checkpoints that train nothing")
    num_runs: int = Field(
        1, gt=0, description="fine-tuning runs from one trunk; above 1 the last is held out"
    )
    skip_steps: int = Field(0, ge=0, description="updates of each run before its first checkpoint")
    save_every_steps: int = Field(1, gt=0, description="updates between two checkpoints")

    @model_validator(mode="after")
    def _every_run_keeps_checkpoints(self) -> "CollectionSettings":
        learning = self.num_runs - 1
        if learning and (self.num_held_out == 0 or self.num_checkpoints < learning):
            raise ValueError(
                f"num_runs: {self.num_runs} runs need num_held_out of at least 1 for the last and "
                f"num_checkpoints of at least {learning} for the others"
            )
        return self


@dataclass(frozen=True)
class _Run:
    """One fine-tuning run: its number and how many checkpoints it keeps."""

    number: int
    num_checkpoints: int


def collect(
    task: Task,
    patterns: tuple[str, ...],
    settings: CollectionSettings,
    *,
    seed: int,
    device: torch.device,
    zoo_folder: Path,
    state_folder: Path,
    report: Report,
) -> None:
    """Collect a zoo; killed at any moment, the same call completes it with the same result.

    Args:
        task: data and network.
        patterns: which tensors are fine-tuned and kept.
        settings: the protocol.
        seed: of the initial weights and the order of the data.
        device: where to train.
        zoo_folder: where the zoo is written.
        state_folder: where unfinished work is kept.
        report: told of the progress.

    Raises:
        UserError: a pattern matches nothing, nothing can be generated, or training diverged.
    """
    network = seeded_network(task, seed)
    names = select(network.state_dict(), patterns)
    layout = ParameterLayout.of(network.state_dict(), names)
    if not any(name in layout.names for name, _ in network.named_parameters()):
        raise UserError(
            "parameters.select: no trainable parameter is selected; fine-tuning would move nothing"
        )
    trunk = _pretrain(network, task, settings.pretraining, seed, device, state_folder, report)
    hold_out, runs = _plan(settings)
    vectors: list[Tensor] = []
    entries: list[dict] = []
    for run in runs:
        network.load_state_dict(trunk)
        vectors += _fine_tune(
            network, task, layout, settings, run, seed, device, state_folder, report
        )
        entries += [
            {"step": step, "seed": seed, "run": run.number} for step in _saved_steps(settings, run)
        ]
    for number, entry in enumerate(entries):
        entry["held_out"] = number >= settings.num_checkpoints
    # Running statistics that are not selected stay the trunk's, as in the authors' evaluation.
    write_zoo(zoo_folder, vectors, entries, layout, trunk, hold_out)


def _plan(settings: CollectionSettings) -> tuple[HoldOutRule, list[_Run]]:
    """Which run yields how many checkpoints; those beyond ``num_checkpoints`` are held out."""
    kept, held_out = settings.num_checkpoints, settings.num_held_out
    if settings.num_runs == 1:
        return ("tail" if held_out else "none"), [_Run(0, kept + held_out)]
    learning = settings.num_runs - 1
    runs = [
        _Run(number, kept // learning + (number < kept % learning)) for number in range(learning)
    ]
    return "run", [*runs, _Run(learning, held_out)]


def _saved_steps(settings: CollectionSettings, run: _Run) -> range:
    """The number of updates after which each checkpoint of a run is kept."""
    first, every = settings.skip_steps + settings.save_every_steps, settings.save_every_steps
    return range(first, first + run.num_checkpoints * every, every)


def _pretrain(
    network: nn.Module,
    task: Task,
    settings: PretrainingSettings,
    seed: int,
    device: torch.device,
    state_folder: Path,
    report: Report,
) -> dict[str, Tensor]:
    """Train everything; returns the state dict of the epoch that is best on validation data."""
    finished = state_folder / "trunk.safetensors"
    if finished.is_file():
        return read_tensors(finished)
    steps_per_epoch = -(-len(task.train) // settings.batch_size)
    optimisation = Optimisation(
        num_steps=settings.epochs * steps_per_epoch,
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        optimiser=settings.optimiser,
    )
    best: dict = {"accuracy": -1.0, "state": {}}

    def keep_best(step: int, module: nn.Module) -> None:
        if (step + 1) % steps_per_epoch:
            return
        accuracy = evaluate_accuracy(module, task.validation, device)
        if accuracy > best["accuracy"]:
            state = {name: tensor.cpu().clone() for name, tensor in module.state_dict().items()}
            best.update(accuracy=accuracy, state=state)

    network.train()
    train(
        network,
        _classification_loss(task, settings.batch_size, f"{seed}/pretraining", device),
        optimisation,
        seed=seed,
        device=device,
        state_file=state_folder / "pretraining.pt",
        progress=lambda done, total: report("pre-training", done, total),
        after_step=keep_best,
        recorded=best,
    )
    write_tensors(finished, best["state"])
    return best["state"]


def _fine_tune(
    network: nn.Module,
    task: Task,
    layout: ParameterLayout,
    settings: CollectionSettings,
    run: _Run,
    seed: int,
    device: torch.device,
    state_folder: Path,
    report: Report,
) -> list[Tensor]:
    """Fine-tune what is selected; returns one raw vector per checkpoint."""
    finished = state_folder / f"run-{run.number}.safetensors"
    if finished.is_file():
        return list(read_tensors(finished)["vectors"])
    tuning = settings.fine_tuning
    stream = f"{seed}/fine-tuning/{run.number}"
    optimisation = Optimisation(
        num_steps=_saved_steps(settings, run)[-1],
        batch_size=tuning.batch_size,
        lr=tuning.lr,
        weight_decay=tuning.weight_decay,
        optimiser=tuning.optimiser,
        schedule="constant" if tuning.final_lr is None else "cosine",
        final_lr=tuning.final_lr or 0.0,
        precision=tuning.precision,
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in layout.names)
    kept: dict[str, list[Tensor]] = {"vectors": []}
    saved = set(_saved_steps(settings, run))

    def keep(step: int, module: nn.Module) -> None:
        if step + 1 in saved:
            kept["vectors"].append(layout.flatten(module.state_dict(), f"update {step}").cpu())

    network.train(tuning.mode == "train")
    train(
        network,
        _classification_loss(task, tuning.batch_size, stream, device),
        optimisation,
        seed=seed * 1000 + run.number,
        device=device,
        state_file=state_folder / f"run-{run.number}.pt",
        progress=lambda done, total: report("collecting checkpoints", done, total),
        after_step=keep,
        recorded=kept,
    )
    write_tensors(finished, {"vectors": torch.stack(kept["vectors"])})
    return kept["vectors"]


def _classification_loss(
    task: Task, batch_size: int, stream: str, device: torch.device
) -> Callable[[nn.Module, int, torch.Generator], Tensor]:
    """Cross-entropy over shuffled passes; the order of a pass depends on the stream alone."""
    steps_per_pass = -(-len(task.train) // batch_size)
    orders: dict[int, Tensor] = {}

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        number, position = divmod(step, steps_per_pass)
        if number not in orders:
            orders.clear()
            orders[number] = torch.randperm(
                len(task.train), generator=seeded_generator(stream, number)
            )
        rows = orders[number][position * batch_size : (position + 1) * batch_size]
        if task.augmented is not None:
            inputs = task.augmented(rows, generator)
        else:
            inputs = task.train.inputs[rows]
        logits = module(inputs.to(device))
        return F.cross_entropy(logits, task.train.labels[rows].to(device))

    return loss


@torch.no_grad()
def evaluate_accuracy(network: nn.Module, split: Split, device: torch.device) -> float:
    """Accuracy of a network on a split, in evaluation mode; the network's mode is kept."""
    was_training = network.training
    network.eval()
    correct = 0
    pairs = zip(batches(split.inputs, 500), split.labels.split(500), strict=True)
    for inputs, labels in pairs:
        correct += int((network(inputs.to(device)).argmax(1).cpu() == labels).sum())
    network.train(was_training)
    return correct / len(split)
