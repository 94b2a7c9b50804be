"""The training loop: a loss and a number of steps to a trained module, resumable to the bit.

The only file that uses accelerate. There is no global random state: step ``i`` draws everything
from its own generator, seeded by ``(seed, i)``, so that a run that was killed goes on exactly where
it stood. State is one file, written aside and renamed, that loads with ``weights_only=True``
(accelerate's own ``save_state`` is neither atomic nor free of pickled objects).
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from pydantic import Field
from torch import Tensor, nn

from paramdiff.artefacts import written_aside
from paramdiff.errors import UserError
from paramdiff.settings import Settings

BatchLoss = Callable[[nn.Module, int, torch.Generator], Tensor]
"""Module, index of the update and its generator to a scalar loss."""
Progress = Callable[[int, int], None]

SECONDS_BETWEEN_SAVES = 10.0


class Optimisation(Settings):
    """How a module is trained."""

    num_steps: int = Field(gt=0, description="updates until the learning-rate schedule ends")
    extra_updates: int = Field(
        0, ge=0, description="updates after the schedule's end (the authors' loop makes one)"
    )
    batch_size: int = Field(50, gt=0, description="examples per update, drawn with replacement")
    lr: float = Field(gt=0, description="initial learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="update rule")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine ends at final_lr")
    final_lr: float = Field(0.0, ge=0, description="learning rate at the end of a cosine schedule")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 runs the forward pass under autocast"
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="decay of the weights' moving average; 0 keeps the last weights"
    )


@dataclass(frozen=True)
class TrainingResult:
    """The loss of every update, and the seconds that this and earlier attempts took."""

    losses: list[float]
    seconds: float


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``mps`` stands for on this machine.

    Raises:
        UserError: the device is unknown or absent.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    if name not in available:
        raise UserError(f"--device: expected auto, cpu, cuda or mps, found {name!r}")
    if not available[name]:
        raise UserError(f"--device: {name} is not available on this machine")
    return torch.device(name)


def seeded_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator whose seed is a hash of the parts, so that no two purposes share a stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def train(
    module: nn.Module,
    batch_loss: BatchLoss,
    settings: Optimisation,
    *,
    seed: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: Progress | None = None,
    after_step: Callable[[int, nn.Module], None] | None = None,
    recorded: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train a module in place.

    Args:
        module: what is trained, in the mode that the caller set; only parameters that require a
            gradient move. On return it is in evaluation mode on the CPU, with averaged weights
            where ``ema_decay`` is set.
        batch_loss: see ``BatchLoss``; it draws everything random from the generator.
        settings: steps, optimiser, schedule, precision, averaging.
        seed: of the stream that the steps' generators come from.
        device: where to train.
        state_file: where to keep the state for resuming; it is read if it exists.
        progress: called with steps done and steps in all.
        after_step: called with the step's index and the module after each update.
        recorded: what ``after_step`` collects; saved and restored with the state, in place.

    Returns:
        The losses.

    Raises:
        UserError: the loss became NaN or infinite.
    """
    started = time.monotonic()
    num_updates = settings.num_steps + settings.extra_updates
    accelerator = Accelerator(cpu=device.type == "cpu")
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = _build_optimiser(parameters, settings)
    module, prepared = accelerator.prepare(module, optimiser)
    average = EMAModel(parameters, decay=settings.ema_decay) if settings.ema_decay else None
    losses: list[float] = []
    earlier = 0.0
    recorded = {} if recorded is None else recorded

    def state() -> dict[str, Any]:
        return {
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": average.state_dict() if average else None,
            "losses": losses,
            "seconds": earlier + time.monotonic() - started,
            "recorded": recorded,
        }

    if state_file is not None and state_file.is_file():
        saved = torch.load(state_file, map_location="cpu", weights_only=True)
        module.load_state_dict(saved["module"])
        optimiser.load_state_dict(saved["optimiser"])
        if average is not None:
            average.load_state_dict(saved["average"])
        losses, earlier = saved["losses"], saved["seconds"]
        recorded.update(saved["recorded"])

    last_save = time.monotonic()
    for step in range(len(losses), num_updates):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        with torch.autocast(device.type, torch.bfloat16, settings.precision == "bfloat16"):
            loss = batch_loss(module, step, seeded_generator(seed, step))
        prepared.zero_grad()
        accelerator.backward(loss)
        prepared.step()
        if average is not None:
            average.step(parameters)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError(f"training diverged: the loss of update {step} is {losses[-1]}")
        if after_step is not None:
            after_step(step, module)
        if progress is not None:
            progress(step + 1, num_updates)
        if state_file is not None and time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
            with written_aside(state_file) as aside:
                torch.save(state(), aside)
            last_save = time.monotonic()
    if average is not None:
        average.copy_to(parameters)
    module.eval().to("cpu")
    return TrainingResult(losses, earlier + time.monotonic() - started)


def learning_rate(settings: Optimisation, step: int) -> float:
    """The learning rate of an update; constant after the schedule's end."""
    if settings.schedule == "constant":
        return settings.lr
    done = min(step / settings.num_steps, 1.0)
    return settings.final_lr + (settings.lr - settings.final_lr) * 0.5 * (
        1 + math.cos(math.pi * done)
    )


def _build_optimiser(parameters: list[nn.Parameter], settings: Optimisation) -> torch.optim.Optimizer:
    lr, decay = settings.lr, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=decay)
