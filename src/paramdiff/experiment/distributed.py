"""Answers of many networks, computed by several workers."""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor

from paramdiff.evaluation.behaviour import Answers, Behaviour
from paramdiff.experiment.behaviour import build_behaviour
from paramdiff.fanout import FanOut
from paramdiff.progress import ignore_progress
from paramdiff.tasks.task import AnyTask
from paramdiff.zoo.zoo import Zoo

FEWEST, MOST = 8, 256
"""Networks in one piece of work; fewer are answered for here."""


def distributed(
    behaviour: Behaviour, task: AnyTask, zoo: Zoo, device: torch.device, fan_out: FanOut
) -> Behaviour:
    """A behaviour whose answers come from several workers; all else stays here.

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
    job = fan_out.job(_answers_of, task, replace(zoo, originals=nothing, held_out=nothing), device)

    def answers(vectors: Tensor) -> Answers:
        if len(vectors) <= FEWEST:
            return behaviour.answers(vectors)
        size = min(MOST, max(FEWEST, math.ceil(len(vectors) / fan_out.num_workers)))
        pieces = [piece.clone() for piece in vectors.split(size)]  # a view would travel whole
        return _joined(job.run(pieces, ignore_progress))

    return replace(behaviour, answers=answers)


def _answers_of(task: AnyTask, zoo: Zoo, device: torch.device) -> Callable[[Tensor], Answers]:
    return build_behaviour(task, zoo, device).answers


def _joined(answers: list[Answers]) -> Answers:
    parts: dict[str, Tensor | None] = {}
    for field in fields(Answers):
        values = [getattr(one, field.name) for one in answers]
        parts[field.name] = None if values[0] is None else torch.cat(values)
    return Answers(**parts)  # type: ignore[arg-type]
