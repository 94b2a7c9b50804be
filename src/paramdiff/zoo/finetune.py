"""Fine-tuning of the selected parameters, with a cache of the frozen prefix.

No update changes the layers before the first trained parameter. The network is split there: the
prefix runs without gradients, only the suffix is trained. If the inputs do not change either (no
augmentation), the activations at the split are cached for all training examples and the prefix
never runs again. All of this holds in evaluation mode only; ``depends_on_mode`` checks if a
network computes anything else in training mode.
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
from paramdiff.scoring.inputs import Inputs, batches
from paramdiff.scoring.predict import layout_of
from paramdiff.scoring.split import cut, is_one_per_example, used_by
from paramdiff.storage import read_tensors, write_tensors
from paramdiff.tasks.base import Task
from paramdiff.tasks.classification import training_logits
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from paramdiff.zoo.objective import ClassificationBatches, EpochBatches
from paramdiff.zoo.plan import Run
from paramdiff.zoo.zoo_settings import FineTuningSettings

MEMORY_BUDGET = 2**30
"""Maximum size in bytes of the cached activations at the split."""
BATCH_SIZE = 500
NUM_CHECKED = 16  # examples used to check the assumptions about the network
TOLERANCE = 1e-4


class FrozenLayers:
    """A network as a function of its trained parameters, for the rows of the training split.

    Args:
        network: with the frozen values that count; it is copied, never changed.
        names: the trained parameters.
        data: the training split.
        num_steps: updates of the whole run; nothing is cached if no example recurs.
        memory_budget: bytes that the values at the cut may take.
        progress: called with the examples done and the total.

    Attributes:
        cut: the network in two parts, and why nothing is shared if so.
        reason: in plain words, why the prefix runs again for every update; None where the values
            at the cut are kept.
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
        self._device = next(network.parameters()).device
        example = data.plain_inputs[:NUM_CHECKED].to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            whole = copy.deepcopy(network).eval()
            self._layout = layout_of(whole, example, has_gradients=True)
            whole = whole.to(memory_format=self._layout)
            self.cut = cut(whole, names, self._placed(example))
        self.reason = self.cut.reason or self._reason(example, num_steps, memory_budget)
        self._kept = None if self.reason else self._computed(data.plain_inputs, progress)

    def logits(self, network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Logits through which a gradient reaches the trained parameters, and nothing else.

        Args:
            network: network in training; only its trained parameters are read if the prefix is
                shared.
            rows: of the training split, ``[B]``.
            generator: of the augmentation.

        Returns:
            ``[B, K]``.
        """
        if self._kept is not None:
            values = tuple(value[rows.to(self._device)] for value in self._kept)
        else:
            inputs = self._data.inputs(rows, generator)
            if self.cut.reason:
                return training_logits(network, inputs, generator)
            values = self._values(inputs)
        own = dict(network.named_parameters())
        trained = {name: own[name] for name in self._names}
        return functional_call(self.cut.suffix, used_by(self.cut.suffix, trained), values)

    @torch.no_grad()
    def _values(self, inputs: Tensor) -> tuple:
        return self.cut.prefix(self._placed(inputs))

    def _placed(self, inputs: Tensor) -> Tensor:
        return inputs.to(self._device, memory_format=self._layout)

    def _reason(self, example: Tensor, num_steps: int, memory_budget: int) -> str | None:
        data = self._data
        if data.is_augmented:
            return "augmentation changes the inputs of the frozen layers"
        if num_steps <= data.steps_per_epoch:
            return "no example is seen twice"
        with torch.autocast(self._device.type, enabled=False):
            if not is_one_per_example(self.cut, self._placed(example)):
                return "the values at the cut are not one per example"
        values = self._values(example)
        num_bytes = sum(value.nbytes for value in values) // len(example) * len(data.plain_inputs)
        if num_bytes > memory_budget:
            return (
                f"the values at the cut would take {num_bytes / 2**20:,.0f} MiB, and the budget "
                f"is {memory_budget / 2**20:,.0f} MiB"
            )
        return None

    def _computed(self, inputs: Inputs, progress: Progress) -> list[Tensor]:
        """The values at the cut of all training examples, ``[E, ...]`` each."""
        kept: list[Tensor] = []
        done = 0
        for batch in batches(inputs, BATCH_SIZE):
            values = self._values(batch)
            if not kept:
                kept = [_empty_like(value, len(inputs)) for value in values]
            for all_values, value in zip(kept, values, strict=True):
                all_values[done : done + len(batch)] = value
            done += len(batch)
            progress(done, len(inputs))
        return kept


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


def _empty_like(value: Tensor, length: int) -> Tensor:
    """Allocate a tensor of another length in the same memory format."""
    is_image = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_image else torch.contiguous_format
    shape = (length, *value.shape[1:])
    return torch.empty(shape, dtype=value.dtype, device=value.device, memory_format=layout)


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
        memory_budget: bytes for values of frozen layers, see ``FrozenLayers``.

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
    def frozen_layers() -> FrozenLayers:
        assert labelled is not None
        return FrozenLayers(
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
        return labelled.loss(frozen_layers().logits(module, rows, generator), rows)

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
