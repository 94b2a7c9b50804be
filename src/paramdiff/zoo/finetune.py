"""Fine-tuning of the selected parameters; the frozen layers in front of them run once.

No update changes the layers before the first trained parameter. The network is split there: the
prefix runs without gradients, only the suffix is trained. If the inputs do not change either (no
augmentation), the outputs of the prefix are kept for all training examples. All of this holds in
evaluation mode only; ``depends_on_mode`` checks if a network computes anything else in training
mode.
"""

import copy
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from paramdiff.parameters.layout import ParameterLayout
from paramdiff.progress import Progress, StageProgress
from paramdiff.scoring.inputs import Inputs
from paramdiff.scoring.prefix_cache import MEMORY_BUDGET, PrefixCache
from paramdiff.scoring.split import used_by
from paramdiff.storage import read_tensors, write_tensors
from paramdiff.tasks.base import Task
from paramdiff.tasks.classification import training_logits
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from paramdiff.zoo.epoch_batches import ClassificationBatches, EpochBatches
from paramdiff.zoo.plan import Run
from paramdiff.zoo.zoo_settings import FineTuningSettings

NUM_CHECKED = 16  # examples used to check the assumptions about the network
TOLERANCE = 1e-4


class FineTunedNetwork:
    """A network as a function of its trained parameters, for the rows of the training split.

    Args:
        network: network with the values of its frozen parameters; it is copied, never changed.
        names: the trained parameters.
        data: the training split.
        num_steps: updates of the whole run; nothing is cached if no example recurs.
        memory_budget: bytes that the outputs of the frozen layers may take.
        progress: called with the examples done and the total.

    Attributes:
        reason: in plain words, why the frozen layers run again in every update; None if their
            outputs are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        names: Sequence[str],
        data: ClassificationBatches,
        *,
        num_steps: int,
        memory_budget: int,
        progress: Progress,
    ) -> None:
        self._names, self._data = tuple(names), data
        self._prefix = PrefixCache(
            copy.deepcopy(network).eval(),
            names,
            data.plain_inputs,
            device=next(network.parameters()).device,
            memory_budget=memory_budget,
            has_gradients=True,
            num_checked=NUM_CHECKED,
        )
        self.reason = self._prefix.cut.reason or self._reason(num_steps)
        if self.reason is None:
            self._prefix.keep_rows(progress)

    def logits(self, network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Compute logits through which gradients reach the trained parameters, and nothing else.

        Args:
            network: network in training; only its trained parameters are read if the frozen
                layers are shared.
            rows: of the training split, ``[B]``.
            generator: of the augmentation.

        Returns:
            ``[B, K]``.
        """
        if self.reason is None:
            values = self._prefix.rows(rows)
        else:
            inputs = self._data.inputs(rows, generator)
            if self._prefix.cut.reason:
                return training_logits(network, inputs, generator)
            values = self._prefix.outputs(inputs)
        own = dict(network.named_parameters())
        trained = {name: own[name] for name in self._names}
        suffix = self._prefix.cut.suffix
        return functional_call(suffix, used_by(suffix, trained), values)

    def _reason(self, num_steps: int) -> str | None:
        if self._data.is_augmented:
            return "augmentation changes the inputs of the frozen layers"
        if num_steps <= self._data.steps_per_epoch:
            return "no example is seen twice"
        return self._prefix.obstacle()


@torch.no_grad()
def depends_on_mode(network: nn.Module, inputs: Inputs) -> bool:
    """Check if training mode changes outputs or buffers, as batch statistics and dropout do.

    Args:
        network: network in any mode; copied, never changed.
        inputs: examples ``[E, ...]``, of which a few are run.

    Returns:
        False if the network computes the same in both modes.
    """
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        return True
    device = next(network.parameters()).device
    example = inputs[:NUM_CHECKED].to(device)
    evaluated, trained = copy.deepcopy(network).eval(), copy.deepcopy(network).train()
    expected = evaluated(example)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = trained(example)
    same = torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    moved = any(
        not buffer.equal(other)
        for buffer, other in zip(trained.buffers(), evaluated.buffers(), strict=True)
    )
    return moved or not same


def fine_tune(
    network: nn.Module,
    task: Task,
    layout: ParameterLayout,
    settings: FineTuningSettings,
    run: Run,
    *,
    seed: int,
    device: torch.device,
    state_folder: Path,
    progress: StageProgress,
    memory_budget: int = MEMORY_BUDGET,
) -> list[Tensor]:
    """Fine-tune the selected parameters.

    Args:
        network: pretrained network; trained in place.
        task: data and loss.
        layout: tensors to save, of which the parameters are trained.
        settings: training protocol.
        run: number of the run and the updates after which it saves a checkpoint.
        seed: seed of data order and augmentation.
        device: device to train on.
        state_folder: folder for unfinished and finished work.
        progress: called with the name of the work, steps done and the total.
        memory_budget: bytes that the outputs of the frozen layers may take.

    Returns:
        One raw vector ``[P]`` per checkpoint.
    """
    finished = state_folder / f"run-{run.number}.safetensors"
    if finished.is_file():
        return list(read_tensors(finished)["vectors"])
    stream = f"{seed}/fine-tuning/{run.number}"
    data = EpochBatches(task, settings.batch_size, stream)
    labelled = task.as_classification
    optimization = Optimization(
        num_steps=run.steps[-1],
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        optimizer=settings.optimizer,
        schedule="constant" if settings.final_lr is None else "cosine",
        final_lr=settings.final_lr or 0.0,
        precision=settings.precision,
    )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in layout.names)
    first_eval_step = {"train": run.steps[-1], "eval": 0, "eval_after_first_save": run.steps[0]}
    is_mode_seen = (
        labelled is not None
        and first_eval_step[settings.mode] > 0
        and depends_on_mode(network, labelled.train.inputs)
    )

    @cache  # from the first update in evaluation mode on, frozen layers stay as they are
    def tuned() -> FineTunedNetwork:
        assert labelled is not None
        return FineTunedNetwork(
            network,
            [name for name, parameter in network.named_parameters() if parameter.requires_grad],
            ClassificationBatches(labelled, settings.batch_size, stream),
            num_steps=run.steps[-1],
            memory_budget=memory_budget,
            progress=partial(progress, "running frozen layers once"),
        )

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> Tensor:
        rows = data.rows(step)
        module.train(step < first_eval_step[settings.mode])
        # a network that is no classifier may compute anything, and is not cut
        if labelled is None or (module.training and is_mode_seen):
            return data.training_loss(module, rows, generator)
        return labelled.loss(tuned().logits(module, rows, generator), rows)

    kept: dict[str, list[Tensor]] = {"vectors": []}
    kept_steps = set(run.steps)

    def keep(step: int, module: nn.Module) -> None:
        if step + 1 in kept_steps:
            kept["vectors"].append(layout.flatten(module.state_dict(), f"update {step}").cpu())

    train(
        network,
        loss,
        optimization,
        seed=seed * 1000 + run.number,
        device=device,
        state_file=state_folder / f"run-{run.number}.pt",
        progress=partial(progress, "collecting checkpoints"),
        after_step=keep,
        recorded=kept,
    )
    write_tensors(finished, {"vectors": torch.stack(kept["vectors"])})
    return kept["vectors"]
