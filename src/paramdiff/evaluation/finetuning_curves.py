"""Networks as starting points: how good they become after a few updates on training data.

Generated networks, originals, their average and untrained values are trained on the same batches.
Each group has the learning rate that serves it best on validation data.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.evaluate_groups import EvaluatedGroups
from paramdiff.evaluation.further_schema import FinetuningCurve, FinetuningCurves
from paramdiff.evaluation.predictor import Predictor
from paramdiff.methods.finetuning import (
    BATCH_SIZE,
    LEARNING_RATES,
    TrainingExamples,
    drawn_batches,
    fine_tuned,
)
from paramdiff.parameters.normalization import Normalization
from paramdiff.progress import StageProgress
from paramdiff.random import seeded_generator

UPDATES = (0, 1, 3, 10, 30, 100)
"""After so many updates networks are scored."""


def finetuning_curves(
    evaluated: EvaluatedGroups, predictor: Predictor, seed: int, progress: StageProgress
) -> FinetuningCurves:
    """Train a few networks of some groups and score them on the way.

    Args:
        evaluated: holds the networks to start from.
        predictor: of a classification task: with its training split.
        seed: of the order of the examples.
        progress: told of every network that is trained.

    Returns:
        Group to its test scores; without groups whose training diverged.
    """
    training, normalization = predictor.training, evaluated.normalization
    assert training is not None
    batches = drawn_batches(
        len(training.labels), UPDATES[-1] * BATCH_SIZE, seeded_generator(seed, "starting points")
    )
    done, total = 0, len(LEARNING_RATES) * sum(map(len, evaluated.starts.values()))
    found = {}
    for name, starts in evaluated.starts.items():
        tried = []
        for learning_rate in LEARNING_RATES:
            progress("training from starting points", done, total)
            done += len(starts)
            try:
                courses = [
                    _course(start, batches, training, normalization, learning_rate)
                    for start in starts
                ]
                losses = [training.validation_loss(course[1:]).mean() for course in courses]
            except NotFiniteError:
                continue
            tried.append((float(sum(losses)), learning_rate, courses))
        if tried:
            _, learning_rate, courses = min(tried, key=lambda one: one[0])
            found[name] = _scored(courses, learning_rate, predictor)
    progress("training from starting points", total, total)
    return FinetuningCurves(updates=UPDATES, batch_size=BATCH_SIZE, groups=found)


def _course(
    start: Tensor,
    batches: Sequence[Tensor],
    training: TrainingExamples,
    normalization: Normalization,
    learning_rate: float,
) -> Tensor:
    """One network ``[U, P]`` at ``UPDATES``."""
    loss = training.label_loss
    steps = fine_tuned(start, batches, loss, normalization, learning_rate, decays=False)
    kept = [vector for update, vector in enumerate(steps, 1) if update in UPDATES]
    return torch.stack([start.float(), *kept])


def _scored(
    courses: Sequence[Tensor], learning_rate: float, predictor: Predictor
) -> FinetuningCurve:
    predictions = [predictor.predict(course) for course in courses]
    test = torch.stack([one.test.double().mean(1) for one in predictions])
    return FinetuningCurve(
        n=len(courses),
        learning_rate=learning_rate,
        score=tuple(test.mean(0).tolist()),
        std=tuple(test.std(0, correction=0).tolist()),
    )
