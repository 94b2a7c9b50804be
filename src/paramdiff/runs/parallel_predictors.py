"""Predictions of many networks, computed by several Ray workers."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.parallel import FanOut
from paramdiff.progress import ignore_progress
from paramdiff.runs.predictors import build_predictor
from paramdiff.tasks.base import Task
from paramdiff.zoo.zoo import Zoo

Method = Literal["predict", "predict_validation"]
Piece = tuple[Method, bool, Tensor]
Found = TypeVar("Found", Predictions, ValidationPredictions)

FEWEST, MOST = 8, 256
"""Networks in one piece of work; fewer are predicted in this process."""


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
    job = fan_out.job(_worker, task, alone, device, predictor.reestimated is not None)

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


def _worker(
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
