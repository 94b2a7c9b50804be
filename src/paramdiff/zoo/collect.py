"""Train a network, freeze all but the selected parameters, fine-tune and keep checkpoints.

The protocol of method.md 3.1: pre-train; then fine-tune only what is selected and save it after
every update. What differs, and why:

- The pre-trained network is the epoch that is best on validation data, where the authors used the
  test set; checkpoints that train nothing are held out (a separate run, or the tail of the only
  one).
- Frozen layers in front of the selection run once where nothing changes what they compute
  (``frozen.py``), and no test pass follows an update: accuracies are scored afterwards.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout, is_copied_verbatim
from paramdiff.parameters.selection import select
from paramdiff.tasks.task import AnyTask, seeded_network
from paramdiff.zoo.fine_tuning import fine_tune
from paramdiff.zoo.plan import plan_of, run_seed
from paramdiff.zoo.pretraining import pretrain
from paramdiff.zoo.settings import CollectionSettings
from paramdiff.zoo.zoo import write_zoo


def collect(
    task: AnyTask,
    patterns: tuple[str, ...],
    settings: CollectionSettings,
    *,
    seed: int,
    device: torch.device,
    zoo_folder: Path,
    state_folder: Path,
    report: Callable[[str, int, int], None],
) -> None:
    """Collect a zoo; killed at any moment, the same call completes it with the same result.

    Args:
        task: data, network and loss.
        patterns: which tensors are fine-tuned and kept.
        settings: the protocol.
        seed: of the initial weights, the order of the data, augmentation and dropout.
        device: where to train.
        zoo_folder: where the zoo is written.
        state_folder: where unfinished work is kept.
        report: told the name of the work, steps done and steps in all.

    Raises:
        UserError: a pattern matches nothing, nothing can be generated or kept, independent runs
            share tensors, or training diverged.
    """
    network = seeded_network(task, seed)
    names = select(network.state_dict(), patterns)
    layout = ParameterLayout.of(network.state_dict(), names)
    check_selection(network, layout, settings)
    plan = plan_of(settings, task.num_train)
    base: dict[str, Tensor] = {}
    vectors: list[Tensor] = []
    entries: list[dict] = []
    for run in plan.runs:
        if run.number == 0 or settings.independent_runs:
            own_seed = run_seed(seed, run.number)
            if run.number:
                network = seeded_network(task, own_seed)
            trunk = pretrain(
                network,
                task,
                settings.pretraining,
                number=run.number,
                seed=own_seed,
                device=device,
                state_folder=state_folder,
                progress=lambda done, total: report("pre-training", done, total),
            )
            base = base or trunk
        network.load_state_dict(trunk)
        vectors += fine_tune(
            network,
            task,
            layout,
            settings.fine_tuning,
            run,
            seed=seed,
            device=device,
            state_folder=state_folder,
            report=report,
        )
        entries += [{"step": step, "seed": own_seed, "run": run.number} for step in run.steps]
    for number, entry in enumerate(entries):
        entry["held_out"] = number >= settings.num_checkpoints
    # Running statistics that are not selected stay the trunk's, as in the authors' evaluation.
    write_zoo(zoo_folder, vectors, entries, layout, base, plan.hold_out)


def check_selection(
    network: nn.Module, layout: ParameterLayout, settings: CollectionSettings
) -> None:
    """Refuse a selection that fine-tuning cannot make a zoo of.

    Args:
        network: the task's.
        layout: of the selected tensors.
        settings: the protocol.

    Raises:
        UserError: no trainable parameter is selected, or independent runs share a tensor (they
            differ in all of them, and a zoo has one base for what is not selected).
    """
    if not any(name in layout.names for name, _ in network.named_parameters()):
        raise UserError(
            "parameters.select: no trainable parameter is selected; fine-tuning would move nothing"
        )
    for name, tensor in network.state_dict().items() if settings.independent_runs else ():
        if tensor.is_floating_point() and name not in layout.names:
            why = "has one element" if is_copied_verbatim(name, tensor) else "is not selected"
            raise UserError(
                "collection.independent_runs: runs from other initial weights share nothing, so "
                f"every tensor must be generated; {name!r} {why}"
            )
