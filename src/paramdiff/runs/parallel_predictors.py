"""Scores of many networks, computed by several workers."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from paramdiff.evaluation.predictor import Answers, Behaviour, Validated
from paramdiff.parallel import FanOut
from paramdiff.progress import ignore_progress
from paramdiff.runs.predictors import build_behaviour
from paramdiff.tasks.base import AnyTask
from paramdiff.zoo.zoo import Zoo

Question = Literal["answers", "validated"]
Piece = tuple[Question, bool, Tensor]
Found = TypeVar("Found", Answers, Validated)
Ask = Callable[[Tensor], Found]

FEWEST, MOST = 8, 256
"""Networks in one piece of work; fewer are answered for here."""


def distributed(
    behaviour: Behaviour, task: AnyTask, zoo: Zoo, device: torch.device, fan_out: FanOut
) -> Behaviour:
    """A behaviour whose scores come from several workers; all else stays here.

    Args:
        behaviour: what ``build_behaviour`` gave for the same task and zoo.
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where workers compute.
        fan_out: the workers.

    Returns:
        The behaviour.
    """
    nothing = torch.empty(0)
    alone = replace(zoo, originals=nothing, held_out=nothing)
    job = fan_out.job(_asked, task, alone, device, behaviour.reestimated is not None)

    def shared(here: Behaviour, again: bool) -> Behaviour:
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
            answers=asking("answers", here.answers),
            validated=asking("validated", here.validated),
        )

    made, again = shared(behaviour, False), behaviour.reestimated
    return made if again is None else replace(made, reestimated=shared(again, True))


def _asked(
    task: AnyTask, zoo: Zoo, device: torch.device, reestimates: bool
) -> Callable[[Piece], Any]:
    """What a worker does: one question to one of the two behaviours."""
    behaviour = build_behaviour(task, zoo, device, recalibrate=reestimates)

    def found(piece: Piece) -> Any:
        question, again, vectors = piece
        asked = behaviour.reestimated if again else behaviour
        assert asked is not None
        return getattr(asked, question)(vectors)

    return found


def _joined(found: list[Found]) -> Found:
    parts: dict[str, Any] = {}
    for part in fields(found[0]):
        values = [getattr(one, part.name) for one in found]
        parts[part.name] = None if values[0] is None else torch.cat(values)
    return type(found[0])(**parts)
