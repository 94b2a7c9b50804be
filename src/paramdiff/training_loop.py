"""The training loop: a loss and a number of steps to a trained module, resumable to the bit.

Processes and devices are accelerate's. There is no global random state: step ``i`` draws
everything from its own generator, seeded by ``(seed, i)``, so that a run that was killed goes on
exactly where it stood, and that several processes draw the same batch. State is one file, written
aside and renamed, that loads with ``weights_only=True`` (accelerate's own ``save_state`` is
neither atomic nor free of pickles).
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from paramdiff.early_stopping import ValidationCallback, ValidationRecord, best_record
from paramdiff.errors import UserError
from paramdiff.processes import join
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.storage import write_torch
from paramdiff.training_settings import Optimization

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel

BatchLoss = Callable[[nn.Module, int, torch.Generator], Tensor]
"""Module, index of the update and its generator to a scalar loss."""

SECONDS_BETWEEN_SAVES = 10.0
"""Longer if saving takes more than half a second, so that it takes a twentieth of the time."""


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training beside the module.

    Attributes:
        losses: one per update.
        seconds: of this and earlier attempts.
        validation: the records of the validation callback, if there was one.
    """

    losses: list[float]
    seconds: float
    validation: tuple[ValidationRecord, ...] = ()


def train(
    module: nn.Module,
    batch_loss: BatchLoss,
    settings: Optimization,
    *,
    seed: int,
    device: torch.device,
    updates_per_rate: int = 1,
    is_shared: bool = False,
    state_file: Path | None = None,
    progress: Progress = ignore_progress,
    after_step: Callable[[int, nn.Module], None] | None = None,
    recorded: dict[str, Any] | None = None,
    validation: ValidationCallback | None = None,
) -> TrainingResult:
    """Train a module in place.

    Args:
        module: to train, in the mode that the caller set; only parameters that require a
            gradient move. On return it is in evaluation mode on the CPU, with averaged weights
            if ``ema_decay`` is set, and those of the best validation if there is one.
        batch_loss: see ``BatchLoss``; it draws everything random from the generator.
        settings: steps, optimizer, schedule, precision, averaging.
        seed: of the stream that the steps' generators come from.
        device: where to train.
        updates_per_rate: updates between two changes of the learning rate; those of an epoch make
            a schedule per epoch.
        is_shared: whether all processes of a launch train together: each calls this with a loss
            over its own share of the batch (``processes.own_share``), gradients are averaged, and
            the main process keeps the state. Otherwise this process trains alone.
        state_file: where to keep the state for resuming; it is read if it exists.
        progress: called with the steps done and in all.
        after_step: called with the step's index and the module after each update.
        recorded: what ``after_step`` collects, or what ``batch_loss`` carries from update to
            update; saved and restored with the state, in place.
        validation: validates the module on the way and decides when to stop; in a shared training
            only that of the main process counts.

    Returns:
        The losses (of a shared training, over the whole batch), the time and the validations.

    Raises:
        UserError: the loss became NaN or infinite.
    """
    num_updates = settings.num_updates
    is_keeper = join(device).is_main_process or not is_shared
    accelerator = Accelerator(cpu=device.type == "cpu")
    parameters = [p for p in module.parameters() if p.requires_grad]
    loss_of = accelerator.prepare_model(_Loss(module, batch_loss), evaluation_mode=not is_shared)
    optimizer = accelerator.prepare_optimizer(_build_optimizer(parameters, settings))
    average = _build_average(parameters, settings.ema_decay)
    state = _State(module, parameters, optimizer, average, {} if recorded is None else recorded)
    state.load_if_there(state_file)
    if is_keeper:
        state.validate_at_start(validation)
    for step in range(len(state.losses), num_updates):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step - step % updates_per_rate)
        with torch.autocast(device.type, torch.bfloat16, settings.precision == "bfloat16"):
            loss = loss_of(step, seeded_generator(seed, step))
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        state.step_average()
        if is_shared:
            loss = accelerator.reduce(loss.detach(), "mean")
        state.losses.append(_finite(loss, step))
        if after_step is not None:
            after_step(step, module)
        is_over = False
        if validation is not None and validation.is_due(step + 1, num_updates):
            is_over = _decided_together(is_keeper and state.is_over(validation), is_shared)
        progress(step + 1, step + 1 if is_over else num_updates)
        if is_over:
            break
        if state_file is not None and is_keeper:
            state.save_now_and_then(state_file)
    state.settle()
    module.eval().to("cpu")
    return TrainingResult(state.losses, state.seconds, tuple(state.validation))


def _decided_together(decision: bool, is_shared: bool) -> bool:
    """Broadcast the main process' decision; all must stop together."""
    return broadcast_object_list([decision])[0] if is_shared else decision


def _finite(loss: Tensor, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(f"training diverged: the loss of update {step} is {value}")
    return value


class _Loss(nn.Module):
    """A loss as the forward pass of a module, where processes hook in to average gradients."""

    def __init__(self, module: nn.Module, batch_loss: BatchLoss) -> None:
        super().__init__()
        self.module, self._batch_loss = module, batch_loss

    def forward(self, step: int, generator: torch.Generator) -> Tensor:
        return self._batch_loss(self.module, step, generator)


@dataclass
class _State:
    """All that a killed run needs to resume."""

    module: nn.Module
    parameters: list[nn.Parameter]
    optimizer: Any
    average: "EMAModel | None"
    recorded: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    validation: list[ValidationRecord] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    earlier: float = 0.0
    started: float = field(default_factory=time.monotonic)
    last_save: float = field(init=False)
    pause: float = field(init=False)

    def __post_init__(self) -> None:
        self.last_save, self.pause = time.monotonic(), SECONDS_BETWEEN_SAVES

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def step_average(self) -> None:
        """Update the moving average, if there is one."""
        if self.average is not None:
            self.average.step(self.parameters)

    def validate_at_start(self, validation: ValidationCallback | None) -> None:
        """Validate before the first update, if the callback wants it and nothing was trained."""
        if validation is None or not validation.at_start:
            return
        if not self.losses and not self.validation:
            self.is_over(validation)

    def is_over(self, validation: ValidationCallback) -> bool:
        """Validate, keep the best weights, and return True if training is to stop."""
        modes = {part: part.training for part in self.module.modules()}
        self.module.eval()
        if self.average is not None:
            self.average.store(self.parameters)
            self.average.copy_to(self.parameters)
        self.validation.append(validation.validate(self.module, len(self.losses)))
        if best_record(self.validation) is self.validation[-1]:
            values = self.module.state_dict().items()
            self.best = {name: value.detach().cpu().clone() for name, value in values}
        if self.average is not None:
            self.average.restore(self.parameters)
        for part, mode in modes.items():
            part.training = mode
        return validation.is_over(self.validation)

    def settle(self) -> None:
        """Load the best or averaged weights, if there are any."""
        if self.best is not None:
            self.module.load_state_dict(self.best)
        elif self.average is not None:
            self.average.copy_to(self.parameters)

    def save_now_and_then(self, path: Path) -> None:
        """Save if the last save is long enough ago."""
        started = time.monotonic()
        if started - self.last_save > self.pause:
            self.save(path)
            self.last_save = time.monotonic()
            self.pause = SECONDS_BETWEEN_SAVES * max(1.0, 2 * (self.last_save - started))

    def save(self, path: Path) -> None:
        content = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "losses": self.losses,
            "validation": [asdict(record) for record in self.validation],
            "best": self.best,
            "seconds": self.seconds,
            "recorded": self.recorded,
        }
        write_torch(path, content)

    def load_if_there(self, path: Path | None) -> None:
        if path is None or not path.is_file():
            return
        content = torch.load(path, map_location="cpu", weights_only=True)
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
            # it takes the loaded tensors as they lie; modules and optimizers move theirs
            self.average.to(self.parameters[0].device)
        self.losses, self.earlier = content["losses"], content["seconds"]
        self.validation = [ValidationRecord(**one) for one in content["validation"]]
        self.best = content["best"]
        self.recorded.update(content["recorded"])


def learning_rate(settings: Optimization, step: int) -> float:
    """Compute the learning rate of an update; constant after the schedule's end."""
    if settings.schedule == "constant":
        return settings.lr
    done = min(step / settings.num_steps, 1.0)
    return settings.final_lr + (settings.lr - settings.final_lr) * 0.5 * (
        1 + math.cos(math.pi * done)
    )


def _build_optimizer(
    parameters: list[nn.Parameter], settings: Optimization
) -> torch.optim.Optimizer:
    # one call for all parameters: a small denoiser spends more on Python than on arithmetic
    shared: Any = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **shared)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, **shared)


def _build_average(parameters: list[nn.Parameter], decay: float) -> "EMAModel | None":
    if not decay:
        return None
    from diffusers.training_utils import EMAModel  # loads all of diffusers' networks

    return EMAModel(parameters, decay=decay, foreach=True)
