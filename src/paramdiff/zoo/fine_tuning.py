"""Fine-tuning: only the selected parameters move, and after planned updates they are kept.

The accuracy of a checkpoint is not computed here: fast scoring does it for all of them afterwards.
"""

from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.artefacts import read_tensors, write_tensors
from paramdiff.engine import Optimisation, train
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.progress import Report
from paramdiff.tasks.task import AnyTask, Task
from paramdiff.zoo.classification import ShuffledBatches
from paramdiff.zoo.frozen import MEMORY_BUDGET, FrozenLayers, depends_on_mode
from paramdiff.zoo.objective import batches_of
from paramdiff.zoo.plan import Run
from paramdiff.zoo.settings import FineTuningSettings


def fine_tune(
    network: nn.Module,
    task: AnyTask,
    layout: ParameterLayout,
    settings: FineTuningSettings,
    run: Run,
    *,
    seed: int,
    device: torch.device,
    state_folder: Path,
    report: Report,
    memory_budget: int = MEMORY_BUDGET,
) -> list[Tensor]:
    """Fine-tune what is selected.

    Args:
        network: the trunk; trained in place.
        task: data and loss.
        layout: the tensors that are kept; those of them that are parameters are trained.
        settings: the protocol.
        run: its number, and after which updates a checkpoint is kept.
        seed: of the order of the data and of augmentation.
        device: where to train.
        state_folder: where unfinished and finished work is kept.
        report: told the name of the work, steps done and steps in all.
        memory_budget: bytes for values of frozen layers, see ``FrozenLayers``.

    Returns:
        One raw vector ``[P]`` per checkpoint.
    """
    finished = state_folder / f"run-{run.number}.safetensors"
    if finished.is_file():
        return list(read_tensors(finished)["vectors"])
    data = batches_of(task, settings.batch_size, f"{seed}/fine-tuning/{run.number}")
    optimisation = Optimisation(
        num_steps=run.steps[-1],
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        optimiser=settings.optimiser,
        schedule="constant" if settings.final_lr is None else "cosine",
        final_lr=settings.final_lr or 0.0,
        precision=settings.precision,
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in layout.names)
    first_eval_step = {"train": run.steps[-1], "eval": 0, "eval_after_first_save": run.steps[0]}
    is_mode_seen = (
        isinstance(task, Task)
        and first_eval_step[settings.mode] > 0
        and depends_on_mode(network, task.train.inputs)
    )

    @cache  # from the first update in evaluation mode on, frozen layers stay as they are
    def frozen_layers() -> FrozenLayers:
        assert isinstance(data, ShuffledBatches)
        return FrozenLayers(
            network,
            [name for name, parameter in network.named_parameters() if parameter.requires_grad],
            data,
            num_steps=run.steps[-1],
            memory_budget=memory_budget,
            progress=partial(report, "running frozen layers once"),
        )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        rows = data.rows(step)
        module.train(step < first_eval_step[settings.mode])
        # a network that is no classifier may compute anything, and is not cut
        if not isinstance(data, ShuffledBatches) or (module.training and is_mode_seen):
            return data.training_loss(module, rows, generator)
        return data.loss(frozen_layers().logits(module, rows, generator), rows)

    kept: dict[str, list[Tensor]] = {"vectors": []}
    kept_steps = set(run.steps)

    def keep(step: int, module: nn.Module) -> None:
        if step + 1 in kept_steps:
            kept["vectors"].append(layout.flatten(module.state_dict(), f"update {step}").cpu())

    train(
        network,
        loss,
        optimisation,
        seed=seed * 1000 + run.number,
        device=device,
        state_file=state_folder / f"run-{run.number}.pt",
        progress=partial(report, "collecting checkpoints"),
        after_step=keep,
        recorded=kept,
    )
    write_tensors(finished, {"vectors": torch.stack(kept["vectors"])})
    return kept["vectors"]
