"""Scores of many networks, computed by several workers."""

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
from paramdiff.tasks.base import AnyTask
from paramdiff.zoo.zoo import Zoo

Question = Literal["predict", "predict_validation"]
Piece = tuple[Question, bool, Tensor]
Found = TypeVar("Found", Predictions, ValidationPredictions)
Ask = Callable[[Tensor], Found]

FEWEST, MOST = 8, 256
"""Networks in one piece of work; fewer are answered for here."""


def distributed(
    predictor: Predictor, task: AnyTask, zoo: Zoo, device: torch.device, fan_out: FanOut
) -> Predictor:
    """A predictor whose scores come from several workers; all else stays here.

    Args:
        predictor: what ``build_predictor`` gave for the same task and zoo.
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where workers compute.
        fan_out: the workers.

    Returns:
        The predictor.
    """
    nothing = torch.empty(0)
    alone = replace(zoo, originals=nothing, held_out=nothing)
    job = fan_out.job(_asked, task, alone, device, predictor.reestimated is not None)

    def shared(here: Predictor, again: bool) -> Predictor:
        def asking(
            question: Question, ask: Callable[[Tensor], Found]
        ) -> Callable[[Tensor], Found]:
            def found(vectors: Tensor) -> Found:
                if len(vectors) <= FEWEST:
                    return ask(vectors)
                size = min(MOST, max(FEWEST, math.ceil(len(vectors) / fan_out.num_workers)))
                # a view would travel whole
                pieces = [(question, again, piece.clone()) for piece in vectors.split(size)]
                return _joined(job.run(pieces, ignore_progress))

            return found

        return replace(
            here,
            predict=asking("predict", here.predict),
            predict_validation=asking("predict_validation", here.predict_validation),
        )

    made, again = shared(predictor, False), predictor.reestimated
    return made if again is None else replace(made, reestimated=shared(again, True))


def _asked(
    task: AnyTask, zoo: Zoo, device: torch.device, reestimates: bool
) -> Callable[[Piece], Any]:
    """What a worker does: one question to one of the two behaviors."""
    predictor = build_predictor(task, zoo, device, recalibrate=reestimates)

    def found(piece: Piece) -> Any:
        question, again, vectors = piece
        asked = predictor.reestimated if again else predictor
        assert asked is not None
        return getattr(asked, question)(vectors)

    return found


def _joined(found: list[Found]) -> Found:
    parts: dict[str, Any] = {}
    for part in fields(found[0]):
        values = [getattr(one, part.name) for one in found]
        parts[part.name] = None if values[0] is None else torch.cat(values)
    return type(found[0])(**parts)
