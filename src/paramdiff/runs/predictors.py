"""Predictors of a task: raw vectors of a zoo to scores, labels and probabilities."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.evaluation.calibration import negative_log_likelihood
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.further_schema import OutOfDistribution
from paramdiff.evaluation.predictor import (
    Predictions,
    Predictor,
    ValidationPredictions,
    classification,
)
from paramdiff.methods.finetuning import TrainingExamples
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.random import seeded_generator
from paramdiff.scoring.batchnorm import Reestimator, statistics_of
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.scoring.inputs import Inputs, join
from paramdiff.scoring.predict import ParameterSet, Scorer
from paramdiff.tasks.base import Scores, Task, untrained_network
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.custom import TaskScorer
from paramdiff.zoo.zoo import Zoo

NUM_RECALIBRATION_INPUTS = 1000

StatisticsOf = Callable[[ParameterSet], dict[str, Tensor]]
"""Selected tensors to running means and variances by name."""


def build_predictor(
    task: Task, zoo: Zoo, device: torch.device, *, recalibrate: bool = False
) -> Predictor:
    """Build the predictor of raw vectors ``[M, P]`` on a task's examples.

    Args:
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where to compute.
        recalibrate: predict with re-estimated BatchNorm statistics, too, even if no selected
            tensor changes them.

    Returns:
        Functions for scores; in classification also for probabilities, and for the same networks
        with re-estimated BatchNorm statistics.

    Raises:
        UserError: the base checkpoint is not the network's, or there is no BatchNorm to
            recalibrate, or a task with its own score would have to.
    """
    labelled = task.as_classification
    if labelled is not None:
        return _of_classifiers(labelled, zoo, device, recalibrate=recalibrate)
    EvaluationSettings(recalibrate_batchnorm=recalibrate).check_task(is_classification=False)
    return _of_scored(task, zoo, device)


def _of_scored(task: Task, zoo: Zoo, device: torch.device) -> Predictor:
    """Score one network at a time with the task's own score."""
    networks = TaskScorer(task, zoo.base, device=device)

    def predict(vectors: Tensor) -> Predictions:
        sets = [zoo.layout.unflatten(vector) for vector in vectors]
        test = networks.scores(sets, "test")
        validation = test if task.selects_on_test else networks.scores(sets, "validation")
        return Predictions(_values(validation), _values(test), _wrong(test))

    def predict_validation(vectors: Tensor) -> ValidationPredictions:
        sets = [zoo.layout.unflatten(vector) for vector in vectors]
        scores = networks.scores(sets, "test" if task.selects_on_test else "validation")
        return ValidationPredictions(_values(scores), _wrong(scores))

    return Predictor(
        num_validation=task.num_validation,
        num_test=task.num_test,
        predict=predict,
        predict_validation=predict_validation,
        score_name=task.score_name,
        is_fraction=task.is_fraction,
        is_deterministic=networks.is_deterministic,
        selects_on_test=task.selects_on_test,
    )


def _values(scores: list[Scores]) -> Tensor:
    return torch.stack([one.values for one in scores])


def _wrong(scores: list[Scores]) -> Tensor | None:
    found = [one.wrong for one in scores if one.wrong is not None]
    return torch.stack(found) if found else None  # all or none: they have one form


def _of_classifiers(
    task: ClassificationTask, zoo: Zoo, device: torch.device, *, recalibrate: bool
) -> Predictor:
    """Score all networks together."""
    network, names = task.build_network(), zoo.layout.names

    def sets(vectors: Tensor) -> list[ParameterSet]:
        return [zoo.layout.unflatten(vector) for vector in vectors]

    own = _Labels(task, network, zoo.base, names, sets, device)

    @cache  # frozen layers run on all training examples: only if something is trained
    def trained() -> DifferentiableNetwork:
        inputs = task.train.inputs
        return DifferentiableNetwork(network, zoo.base, names, inputs, device=device)

    def training_logits(vector: Tensor, rows: Tensor) -> Tensor:
        return trained().logits(zoo.layout.unflatten(vector.to(device)), rows)

    def validation_loss(vectors: Tensor) -> Tensor:
        truth = task.validation.labels
        each = own.validation_probabilities(vectors)
        return torch.stack([negative_log_likelihood(one.cpu(), truth).mean() for one in each])

    def validation_score(vectors: Tensor) -> Tensor:
        found = own.of_validation.predict(sets(vectors))
        return (found == task.validation.labels).double().mean(1)

    statistics = statistics_of(network)
    if recalibrate and not statistics:
        raise UserError(
            "evaluation.recalibrate_batchnorm: the network has no BatchNorm layer that keeps "
            "statistics"
        )
    is_deterministic = own.of_both.is_deterministic  # refuses what cannot be scored
    reestimated = None
    # unselected statistics are the base's for every group alike
    if recalibrate or set(statistics) & set(names):
        reestimated = _reestimated(task, network, zoo, device, sets, is_deterministic)
    return replace(
        own.predictor(is_deterministic),
        reestimated=reestimated,
        training=TrainingExamples(
            training_logits, task.train.labels, validation_score, validation_loss
        ),
    )


def _reestimated(
    task: ClassificationTask,
    network: nn.Module,
    zoo: Zoo,
    device: torch.device,
    sets: Callable[[Tensor], list[ParameterSet]],
    is_deterministic: bool,
) -> Predictor:
    """Build the same predictor with BatchNorm statistics re-estimated on training inputs."""

    @cache  # training inputs may have to be decoded
    def reestimator() -> Reestimator:
        return _reestimator(task, network, zoo, device)

    def with_statistics(vectors: Tensor) -> list[ParameterSet]:
        return [one | reestimator().statistics(one) for one in map(dict, sets(vectors))]

    names = tuple(dict.fromkeys((*zoo.layout.names, *statistics_of(network))))
    labels = _Labels(task, network, zoo.base, names, with_statistics, device)
    return labels.predictor(is_deterministic)


def _reestimator(
    task: ClassificationTask, network: nn.Module, zoo: Zoo, device: torch.device
) -> Reestimator:
    # at random: splits may come class by class, and so would the statistics of a batch
    order = torch.randperm(len(task.train), generator=seeded_generator("recalibration"))
    inputs = task.train.inputs[order[:NUM_RECALIBRATION_INPUTS]]
    return Reestimator(network, zoo.base, inputs, device=device)


def statistics_estimator(
    task: Task, zoo: Zoo, device: torch.device, *, always: bool = False
) -> StatisticsOf | None:
    """Build a function from selected tensors to the BatchNorm statistics that fit them.

    Args:
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where to compute.
        always: even if no selected tensor is such a statistic.

    Returns:
        The function, which predictors with re-estimated statistics use, too; None if they
        have nothing to fit, or the task is no classification.
    """
    labelled = task.as_classification
    if labelled is None:
        return None
    network = labelled.build_network()
    if not always and not set(statistics_of(network)) & set(zoo.layout.names):
        return None
    return _reestimator(labelled, network, zoo, device).statistics


@dataclass(frozen=True)
class _Labels:
    """Predictions of networks that differ in some tensors; scorers are built on first use.

    Attributes:
        task: data.
        network: the architecture.
        base: holds all other tensors.
        names: the tensors.
        sets: vectors ``[M, P]`` to these.
        device: where to compute.
    """

    task: ClassificationTask
    network: nn.Module
    base: ParameterSet
    names: tuple[str, ...]
    sets: Callable[[Tensor], list[ParameterSet]]
    device: torch.device

    def _scorer(self, inputs: Inputs) -> Scorer:
        return Scorer(self.network, self.base, self.names, inputs, device=self.device)

    @cached_property
    def of_both(self) -> Scorer:
        """Scorer of validation examples, then test examples."""
        return self._scorer(join(self.task.validation.inputs, self.task.test.inputs))

    @cached_property
    def of_validation(self) -> Scorer:
        """Scorer of validation examples."""
        return self._scorer(self.task.validation.inputs)

    @cached_property
    def of_test(self) -> Scorer:
        """Scorer of test examples, then out-of-distribution inputs; built only if needed."""
        foreign, test = self.task.out_of_distribution, self.task.test.inputs
        return self._scorer(test if foreign is None else join(test, foreign.inputs))

    def validation_probabilities(self, vectors: Tensor) -> Iterator[Tensor]:
        """Yield each network's class probabilities ``[V, K]`` of validation examples."""
        return self.of_validation.probabilities(self.sets(vectors))

    def predictor(self, is_deterministic: bool) -> Predictor:
        """Return the predictor for the evaluation."""
        foreign = self.task.out_of_distribution
        return classification(
            lambda vectors: self.of_both.predict(self.sets(vectors)),
            self.task.validation.labels,
            self.task.test.labels,
            validation_labels=lambda vectors: self.of_validation.predict(self.sets(vectors)),
            probabilities=lambda vectors: self.of_test.probabilities(self.sets(vectors)),
            out_of_distribution=None
            if foreign is None
            else OutOfDistribution(
                description=foreign.description, num_examples=len(foreign.inputs)
            ),
            is_deterministic=is_deterministic,
            selects_on_test=self.task.selects_on_test,
            validation_probabilities=self.validation_probabilities,
        )


def untrained_vectors(task: Task, layout: ParameterLayout) -> Callable[[int], Tensor] | None:
    """Return a function from a seed to the raw vector ``[P]`` of a freshly initialized network.

    Args:
        task: whose network it is.
        layout: of a vector.

    Returns:
        The function; None if the network has the same values whatever the seed, as a user's
        network with weights does: it may be trained.
    """
    one, other = (untrained_network(task, seed).state_dict() for seed in (0, 1))
    if all(torch.equal(tensor, other[name]) for name, tensor in one.items()):
        return None
    return lambda seed: layout.flatten(untrained_network(task, seed).state_dict(), "initial")
