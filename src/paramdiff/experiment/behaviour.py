"""How the networks of a zoo behave on the examples of a task."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from paramdiff.engine import seeded_generator
from paramdiff.evaluation.behaviour import Answers, Behaviour, classification
from paramdiff.evaluation.calibration import negative_log_likelihood
from paramdiff.evaluation.fine_tuning import TrainingExamples
from paramdiff.evaluation.schema import (
    OutOfDistribution,
)
from paramdiff.evaluation.settings import EvaluationSettings
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.scoring.inputs import join
from paramdiff.scoring.recalibrate import Recalibrator
from paramdiff.scoring.score import Scorer
from paramdiff.tasks.one_by_one import OneByOne
from paramdiff.tasks.task import AnyTask, ScoredTask, Scores, Task, untrained_network
from paramdiff.zoo.zoo import Zoo

NUM_RECALIBRATION_INPUTS = 2000


def build_behaviour(
    task: AnyTask, zoo: Zoo, device: torch.device, *, recalibrate: bool = False
) -> Behaviour:
    """How raw vectors ``[M, P]`` behave on the task's examples.

    Args:
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where to compute.
        recalibrate: whether to answer with BatchNorm statistics estimated anew, too.

    Returns:
        Functions for scores, and in classification for probabilities and recalibrated scores.

    Raises:
        UserError: the base checkpoint is not the network's, or there is no BatchNorm to
            recalibrate, or a task with its own score would have to.
    """
    if isinstance(task, Task):
        return _of_classifiers(task, zoo, device, recalibrate=recalibrate)
    EvaluationSettings(recalibrate_batchnorm=recalibrate).check_task(is_classification=False)
    return _of_scored(task, zoo, device)


def _of_scored(task: ScoredTask, zoo: Zoo, device: torch.device) -> Behaviour:
    """One network at a time, by the task's own score."""
    networks = OneByOne(task, zoo.base, device=device)

    def answers(vectors: Tensor) -> Answers:
        sets = [zoo.layout.unflatten(vector) for vector in vectors]
        test = networks.scores(sets, "test")
        validation = test if task.selects_on_test else networks.scores(sets, "validation")
        return Answers(_values(validation), _values(test), _wrong(test))

    return Behaviour(
        num_validation=task.num_validation,
        num_test=task.num_test,
        answers=answers,
        score_name=task.score_name,
        is_fraction=task.is_fraction,
        is_deterministic=networks.is_deterministic,
        is_selected_on_test=task.selects_on_test,
    )


def _values(scores: list[Scores]) -> Tensor:
    return torch.stack([one.values for one in scores])


def _wrong(scores: list[Scores]) -> Tensor | None:
    found = [one.wrong for one in scores if one.wrong is not None]
    return torch.stack(found) if found else None  # all or none: they have one form


def _of_classifiers(task: Task, zoo: Zoo, device: torch.device, *, recalibrate: bool) -> Behaviour:
    """All networks together, by fast scoring."""
    network, names, test = task.build_network(), zoo.layout.names, task.test.inputs

    def sets(vectors: Tensor) -> list[dict[str, Tensor]]:
        return [zoo.layout.unflatten(vector) for vector in vectors]

    examples = join(task.validation.inputs, test)
    scorer = Scorer(network, zoo.base, names, examples, device=device)
    foreign = task.out_of_distribution

    @cache  # not everybody asks for probabilities
    def unsure() -> Scorer:
        inputs = test if foreign is None else join(test, foreign.inputs)
        return Scorer(network, zoo.base, names, inputs, device=device)

    @cache  # frozen layers run on all training examples: only where somebody trains
    def trained() -> DifferentiableNetwork:
        inputs = task.train.inputs
        return DifferentiableNetwork(network, zoo.base, names, inputs, device=device)

    def training_logits(vector: Tensor, rows: Tensor) -> Tensor:
        return trained().logits(zoo.layout.unflatten(vector.to(device)), rows)

    @cache
    def selecting() -> Scorer:
        return Scorer(network, zoo.base, names, task.validation.inputs, device=device)

    def validation_loss(vectors: Tensor) -> Tensor:
        probabilities, truth = selecting().probabilities(sets(vectors)), task.validation.labels
        return torch.stack(
            [negative_log_likelihood(one.cpu(), truth).mean() for one in probabilities]
        )

    recalibrator = None
    if recalibrate:
        # at random: splits may come class by class, and so would the statistics of a batch
        order = torch.randperm(len(task.train), generator=seeded_generator("recalibration"))
        training = task.train.inputs[order[:NUM_RECALIBRATION_INPUTS]]
        recalibrator = Recalibrator(network, zoo.base, training, test, device=device)
    return classification(
        lambda vectors: scorer.predict(sets(vectors)),
        task.validation.labels,
        task.test.labels,
        probabilities=lambda vectors: unsure().probabilities(sets(vectors)),
        out_of_distribution=None
        if foreign is None
        else OutOfDistribution(description=foreign.description, num_examples=len(foreign.inputs)),
        recalibrated_labels=None
        if recalibrator is None
        else lambda vectors: recalibrator.predict(sets(vectors)),
        is_deterministic=scorer.is_deterministic,
        training=TrainingExamples(training_logits, task.train.labels, validation_loss),
        is_selected_on_test=task.selects_on_test,
    )


def untrained_vectors(task: AnyTask, layout: ParameterLayout) -> Callable[[int], Tensor] | None:
    """A function from a seed to the raw vector ``[P]`` of a freshly initialised network.

    Args:
        task: whose network it is.
        layout: of a vector.

    Returns:
        The function; None where the network comes with the same values whatever the seed, as a
        user's own with weights of its own does: nobody could say that it is untrained.
    """
    one, other = (untrained_network(task, seed).state_dict() for seed in (0, 1))
    if all(torch.equal(tensor, other[name]) for name, tensor in one.items()):
        return None
    return lambda seed: layout.flatten(untrained_network(task, seed).state_dict(), "initial")
