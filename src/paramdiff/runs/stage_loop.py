"""A stage of a run, and the one loop that completes stages.

A stage is done when its artifact exists, so an interrupted run resumes at the first stage without
one; training inside a stage resumes from its state in ``.partial-state/``. Of the processes of a
launch, the main process makes each artifact while the others wait, except for the modules that
all of them train together.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from paramdiff.recipe.schema import Recipe
from paramdiff.runs.run_context import RunContext, SeedRun
from paramdiff.storage import written_aside
from paramdiff.training_loop import TrainingResult

Run = TypeVar("Run", RunContext, SeedRun)


@dataclass(frozen=True)
class Trained:
    """A module that the processes of a launch have trained.

    Attributes:
        save: write it to a new folder; called by the main process.
        result: losses, seconds and validations.
    """

    save: Callable[[Path], None]
    result: TrainingResult


@dataclass(frozen=True)
class Stage(Generic[Run]):
    """One step from a recipe to a report.

    Attributes:
        name: in the log and in ``evaluation.json``.
        fields: the recipe fields that it depends on, beside those of the stages before it.
        artifact: a file or folder of the run, which is whole if it exists.
        make: make the artifact; a stage that trains returns what is to be saved as it.
        is_trained: all processes of a launch call ``make`` together.
        is_reusable: the artifact may be copied from another run, and its costs are logged.
        is_in: a recipe to True if it has this stage.
        is_done: a run to True if nothing is left to do; None: if the artifact exists.
    """

    name: str
    fields: tuple[str, ...]
    artifact: str
    make: Callable[[Run], Trained | None]
    is_trained: bool = False
    is_reusable: bool = True
    is_in: Callable[[Recipe], bool] = lambda recipe: True
    is_done: Callable[[Run], bool] | None = None


def complete(stages: Iterable[Stage[Run]], run: Run) -> None:
    """Make every artifact that is not there yet, in order.

    Args:
        stages: of the run.
        run: what they work on.

    Raises:
        UserError: a stage failed for a reason that the user can mend.
    """
    for stage in stages:
        if not stage.is_in(run.recipe):
            continue
        if stage.is_trained:
            _train(stage, run)
        else:
            _make(stage, run)


def _make(stage: Stage[Run], run: Run) -> None:
    """Let the main process make an artifact while the others wait."""
    with run.processes.main_process_first():
        if not run.processes.is_main_process or _is_done(stage, run):
            return
        started = time.monotonic()
        stage.make(run)
        if stage.is_reusable:
            run.folder.log.record(stage.name, time.monotonic() - started)


def _train(stage: Stage[Run], run: Run) -> None:
    """Let all processes train a module, and the main process log and save it."""
    is_done = _is_done(stage, run)
    run.processes.wait_for_everyone()  # nobody writes before everybody has looked
    if is_done:
        return
    started = time.monotonic()
    trained = stage.make(run)
    assert trained is not None
    with run.processes.main_process_first():
        if run.processes.is_main_process:
            with written_aside(run.folder.artifact(stage.artifact)) as aside:
                trained.save(aside)
                found = trained.result
                seconds = found.seconds or time.monotonic() - started
                run.folder.log.record(stage.name, seconds, found.losses, found.validation)


def _is_done(stage: Stage[Run], run: Run) -> bool:
    if stage.is_done is not None:
        return stage.is_done(run)
    return run.folder.artifact(stage.artifact).exists()
