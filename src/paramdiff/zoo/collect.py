"""Collection of a zoo by training: pretrain, freeze unselected parameters, fine-tune, save.

The protocol of the paper's Table 5 and of the authors' code: pretrain; then fine-tune only the
selected parameters and save them after every update. Deviations, with reasons:

- The pretrained network is the epoch that is best on validation data, where the authors used the
  test set; held-out checkpoints train nothing (a separate run, or the tail of a single one).
- The frozen layers before the first selected parameter run once if nothing changes their outputs
  (``finetune.py``), and no test pass follows an update: scores are computed afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.checkpoints.tensor_kinds import is_generated
from paramdiff.errors import UserError
from paramdiff.parallel import FanOut
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.tasks.base import Task, seeded_network
from paramdiff.zoo.finetune import fine_tune
from paramdiff.zoo.plan import Run, plan_of, run_seed
from paramdiff.zoo.pretrain import pretrain
from paramdiff.zoo.zoo import write_zoo
from paramdiff.zoo.zoo_settings import CollectionSettings


def collect(
    task: Task,
    patterns: tuple[str, ...],
    settings: CollectionSettings,
    *,
    seed: int,
    device: torch.device,
    zoo_folder: Path,
    state_folder: Path,
    progress: StageProgress,
    fan_out: FanOut | None = None,
) -> None:
    """Collect a zoo; after an interruption, the same call completes it with the same result.

    Args:
        task: data, network and loss.
        patterns: patterns of the tensors to fine-tune and save.
        settings: training protocol.
        seed: seed of initial weights, data order, augmentation and dropout.
        device: device to train on.
        zoo_folder: folder to write the zoo to.
        state_folder: folder for unfinished work.
        progress: called with the name of the work, steps done and the total.
        fan_out: cluster for parallel fine-tuning runs; None: run them in turn.

    Raises:
        UserError: a pattern matches nothing, nothing can be generated or saved, independent runs
            share tensors, or training diverged.
    """
    network = seeded_network(task, seed)
    names = select(network.state_dict(), patterns)
    layout = ParameterLayout.of(network.state_dict(), names)
    check_selection(network, layout, settings)
    plan = plan_of(settings, task.num_train)
    own = _Runs(task, layout, settings, seed, device, state_folder, progress)
    base = pretrained = own.pretrained(network, 0)
    if fan_out is not None and len(plan.runs) > 1:
        # each run saves its checkpoints in the state folder, which is read below
        job = fan_out.job(_finish_run, replace(own, progress=ignore_progress))
        job.run(plan.runs, partial(progress, "collecting runs"))
    vectors: list[Tensor] = []
    for run in plan.runs:
        if run.number and settings.independent_runs:
            network = seeded_network(task, own.seed_of(run.number))
            pretrained = own.pretrained(network, run.number)
        vectors += own.fine_tuned(network, pretrained, run)
    entries = [
        {"step": step, "seed": own.seed_of(run.number), "run": run.number}
        for run in plan.runs
        for step in run.steps
    ]
    for number, entry in enumerate(entries):
        entry["held_out"] = number >= settings.num_checkpoints
    # Unselected running statistics keep their pretrained values, as in the authors' evaluation.
    write_zoo(zoo_folder, vectors, entries, layout, base, plan.hold_out)


@dataclass(frozen=True)
class _Runs:
    """The runs of a collection, with their finished work in the state folder."""

    task: Task
    layout: ParameterLayout
    settings: CollectionSettings
    seed: int
    device: torch.device
    state_folder: Path
    progress: StageProgress

    def seed_of(self, number: int) -> int:
        return run_seed(self.seed, number if self.settings.independent_runs else 0)

    def pretrained(self, network: nn.Module, number: int) -> dict[str, Tensor]:
        """Pretrain the checkpoint that a run starts from; the network has its initial weights."""
        return pretrain(
            network,
            self.task,
            self.settings.pretraining,
            number=number if self.settings.independent_runs else 0,
            seed=self.seed_of(number),
            device=self.device,
            state_folder=self.state_folder,
            progress=partial(self.progress, "pre-training"),
        )

    def fine_tuned(
        self, network: nn.Module, pretrained: dict[str, Tensor], run: Run
    ) -> list[Tensor]:
        """Fine-tune a run; return one raw vector ``[P]`` per checkpoint."""
        network.load_state_dict(pretrained)
        return fine_tune(
            network,
            self.task,
            self.layout,
            self.settings.fine_tuning,
            run,
            seed=self.seed,
            device=self.device,
            state_folder=self.state_folder,
            progress=self.progress,
        )


def _finish_run(runs: _Runs) -> Callable[[Run], None]:
    def finish(run: Run) -> None:
        network = seeded_network(runs.task, runs.seed_of(run.number))
        runs.fine_tuned(network, runs.pretrained(network, run.number), run)

    return finish


def check_selection(
    network: nn.Module, layout: ParameterLayout, settings: CollectionSettings
) -> None:
    """Refuse a selection from which fine-tuning cannot make a zoo.

    Args:
        network: network of the task.
        layout: layout of the selected tensors.
        settings: training protocol.

    Raises:
        UserError: no trainable parameter is selected, or independent runs would have to share a
            tensor (they differ in all, and a zoo has one base for unselected tensors).
    """
    if not any(name in layout.names for name, _ in network.named_parameters()):
        raise UserError(
            "parameters.select: no trainable parameter is selected, so fine-tuning would change "
            "nothing"
        )
    for name, tensor in network.state_dict().items() if settings.independent_runs else ():
        if is_generated(name, tensor) and name not in layout.names:
            raise UserError(
                f"collection.independent_runs: {name!r} is not selected; independent runs share "
                "no tensors, so all must be generated"
            )
