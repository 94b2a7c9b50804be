"""Jobs of runs and sweeps on Ray workers: generator seeds, recipes, predictions."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.parallel import FanOut
from paramdiff.processes import join
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.recipe.schema import Recipe
from paramdiff.report.sweep_schema import SweepRow
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.predictors import build_predictor
from paramdiff.runs.run_context import RunContext
from paramdiff.runs.sweep_entries import Entry
from paramdiff.tasks.base import Task
from paramdiff.zoo.zoo import Zoo

Method = Literal["predict", "predict_validation"]
Piece = tuple[Method, bool, Tensor]
CompleteRow = Callable[[Entry, Path, str, Collection[str], StageProgress], SweepRow]
Found = TypeVar("Found", Predictions, ValidationPredictions)

FEWEST, MOST = 8, 256
"""Networks in one piece of work; fewer are predicted in this process."""


def complete_seeds(
    fan_out: FanOut,
    context: RunContext,
    reuse: Path | None,
    complete: Callable[[RunContext, int, Path | None, None], Any],
) -> None:
    """Complete the generator seeds of a run, each in a worker.

    Args:
        fan_out: the workers.
        context: of the run; the seeds leave their artifacts in its folder.
        reuse: another run's folder, whose matching stages are copied.
        complete: a module-level function that completes the seed of a number.
    """
    other = None if reuse is None else reuse.absolute()
    root, device = context.folder.root, context.device
    job = fan_out.job(_seed_worker, complete, context.recipe, root, device, other)
    numbers = range(len(context.recipe.generator_seeds))
    job.run(numbers, partial(context.progress, "training generators"))


def _seed_worker(
    complete: Callable[[RunContext, int, Path | None, None], Any],
    recipe: Recipe,
    root: Path,
    device: torch.device,
    reuse: Path | None,
) -> Callable[[int], None]:
    context = RunContext(recipe, RunFolder(root), device, ignore_progress, join(device))

    def finish(number: int) -> None:
        complete(context, number, reuse, None)

    return finish


def complete_rows(
    fan_out: FanOut,
    entries: Sequence[Entry],
    out: Path,
    device: str,
    after: Mapping[int, int],
    complete: CompleteRow,
) -> Iterator[tuple[int, SweepRow | Exception]]:
    """Run the recipes of a sweep side by side.

    Args:
        fan_out: the workers.
        entries: the recipes.
        out: the sweep's folder.
        device: where workers compute.
        after: index of a recipe to that of an earlier one that has to be over first.
        complete: a module-level function that runs an entry without reusing stages of the named
            others.

    Returns:
        Index and row of each recipe as it ends; an exception in place of the row if its worker
        failed.
    """
    job = fan_out.job(_row_worker, complete, tuple(entries), out.absolute(), device, dict(after))
    return job.results(range(len(entries)), after)


def _row_worker(
    complete: CompleteRow,
    entries: tuple[Entry, ...],
    out: Path,
    device: str,
    after: dict[int, int],
) -> Callable[[int], SweepRow]:
    def row(index: int) -> SweepRow:
        # the folders of all others may be changing right now
        others = [e.name for i, e in enumerate(entries) if i not in (index, after.get(index))]
        return complete(entries[index], out, device, others, ignore_progress)

    return row


def distributed(
    predictor: Predictor, task: Task, zoo: Zoo, device: torch.device, fan_out: FanOut
) -> Predictor:
    """Distribute the predictions of a predictor over workers.

    Args:
        predictor: built by ``build_predictor`` for the same task and zoo.
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where workers compute.
        fan_out: the workers.

    Returns:
        The predictor.
    """
    nothing = torch.empty(0)
    alone = replace(zoo, originals=nothing, held_out=nothing)
    job = fan_out.job(_prediction_worker, task, alone, device, predictor.reestimated is not None)

    def shared(here: Predictor, again: bool) -> Predictor:
        def distribute(
            method: Method, predict: Callable[[Tensor], Found]
        ) -> Callable[[Tensor], Found]:
            def found(vectors: Tensor) -> Found:
                if len(vectors) <= FEWEST:
                    return predict(vectors)
                size = min(MOST, max(FEWEST, math.ceil(len(vectors) / fan_out.num_workers)))
                # a view would travel whole
                pieces = [(method, again, piece.clone()) for piece in vectors.split(size)]
                return _joined(job.run(pieces, ignore_progress))

            return found

        return replace(
            here,
            predict=distribute("predict", here.predict),
            predict_validation=distribute("predict_validation", here.predict_validation),
        )

    made, again = shared(predictor, False), predictor.reestimated
    return made if again is None else replace(made, reestimated=shared(again, True))


def _prediction_worker(
    task: Task, zoo: Zoo, device: torch.device, reestimates: bool
) -> Callable[[Piece], Any]:
    """Prepare a worker, which calls one method of one of the two predictors."""
    predictor = build_predictor(task, zoo, device, recalibrate=reestimates)

    def found(piece: Piece) -> Any:
        method, again, vectors = piece
        own = predictor.reestimated if again else predictor
        assert own is not None
        return getattr(own, method)(vectors)

    return found


def _joined(found: list[Found]) -> Found:
    parts: dict[str, Any] = {}
    for part in fields(found[0]):
        values = [getattr(one, part.name) for one in found]
        parts[part.name] = None if values[0] is None else torch.cat(values)
    return type(found[0])(**parts)
