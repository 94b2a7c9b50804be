"""Predictions of networks on a task's examples, as an interface.

``runs/predictors.py`` implements it by fast scoring, or one network at a time if a task brings its
own score. The evaluation sees scores, and errors if the task calls anything right or wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.evaluation.further_schema import OutOfDistribution
from paramdiff.methods.finetuning import TrainingExamples


@dataclass(frozen=True)
class Predictions:
    """Predictions of ``M`` networks.

    Attributes:
        validation: scores ``[M, V]`` of validation examples, bool or float, higher is better;
            ``[M, 1]`` if only the whole split has a score.
        test: the same of test examples, ``[M, E]`` or ``[M, 1]``.
        wrong: ``[M, W]`` bool, the errors of each on the test split; None if nothing is right or
            wrong.
        labels: predicted test labels ``[M, E]``; None if the task is no classification.
    """

    validation: Tensor
    test: Tensor
    wrong: Tensor | None
    labels: Tensor | None = None


@dataclass(frozen=True)
class ValidationPredictions:
    """Predictions of ``M`` networks on the validation split alone.

    Attributes:
        values: scores ``[M, V]``, as ``Predictions.validation``.
        wrong: ``[M, W]`` bool, the errors of each on the validation split; None if nothing is
            right or wrong.
    """

    values: Tensor
    wrong: Tensor | None


@dataclass(frozen=True)
class Predictor:
    """Raw vectors ``[M, P]`` to scores.

    Attributes:
        num_validation: validation examples.
        num_test: test examples.
        predict: predictions on both splits. A ``NotFiniteError`` says that a network computes NaN.
        predict_validation: predictions on the validation split alone, without the test examples.
        score_name: for people.
        is_fraction: whether scores lie between 0 and 1 and read best as percentages.
        test_truth: true labels ``[E]``; None if the task is no classification.
        probabilities: class probabilities ``[E + O, K]`` of each network in turn: test examples
            first, then out-of-distribution inputs; None if there are none.
        out_of_distribution: describes the ``O`` inputs; None if there are none.
        reestimated: the behavior of the same networks after their BatchNorm statistics were
            estimated anew on training inputs; None where that changes nothing.
        is_deterministic: whether the same network predicts the same twice.
        training: the training split; None where the task is no classification.
        selects_on_test: whether selection and report share data.
        validation_truth: true labels ``[V]``; None where the task is no classification.
        validation_probabilities: class probabilities ``[V, K]`` of each network in turn; None
            where there are none.
    """

    num_validation: int
    num_test: int
    predict: Callable[[Tensor], Predictions]
    predict_validation: Callable[[Tensor], ValidationPredictions]
    score_name: str = "accuracy"
    is_fraction: bool = True
    test_truth: Tensor | None = None
    probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None
    out_of_distribution: OutOfDistribution | None = None
    reestimated: "Predictor | None" = None
    is_deterministic: bool = True
    training: TrainingExamples | None = None
    selects_on_test: bool = False
    validation_truth: Tensor | None = None
    validation_probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None


def classification(
    labels: Callable[[Tensor], Tensor],
    validation_truth: Tensor,
    test_truth: Tensor,
    *,
    validation_labels: Callable[[Tensor], Tensor] | None = None,
    probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None,
    out_of_distribution: OutOfDistribution | None = None,
    reestimated: Predictor | None = None,
    is_deterministic: bool = True,
    training: TrainingExamples | None = None,
    selects_on_test: bool = False,
    validation_probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None,
) -> Predictor:
    """The behavior of classifiers: an example's score is whether its label is right.

    Args:
        labels: vectors ``[M, P]`` to labels ``[M, V + E]``: validation first, then test.
        validation_truth: true labels ``[V]``.
        test_truth: true labels ``[E]``.
        validation_labels: vectors ``[M, P]`` to validation labels ``[M, V]``; by default those
            that ``labels`` gives.
        probabilities: as the attribute.
        out_of_distribution: as the attribute.
        reestimated: as the attribute.
        is_deterministic: as the attribute.
        training: as the attribute.
        selects_on_test: as the attribute.
        validation_probabilities: as the attribute.

    Returns:
        The predictor. It raises a ``UserError`` if labels have the wrong length.
    """
    num_validation, num_test = len(validation_truth), len(test_truth)

    def all_labels(vectors: Tensor) -> Tensor:
        return _of_length(labels(vectors), num_validation + num_test)

    def predict(vectors: Tensor) -> Predictions:
        own, test = all_labels(vectors).split([num_validation, num_test], dim=1)
        is_right = test == test_truth
        return Predictions(own == validation_truth, is_right, ~is_right, test)

    def predict_validation(vectors: Tensor) -> ValidationPredictions:
        if validation_labels is None:
            own = all_labels(vectors)[:, :num_validation]
        else:
            own = _of_length(validation_labels(vectors), num_validation)
        is_right = own == validation_truth
        return ValidationPredictions(is_right, ~is_right)

    return Predictor(
        num_validation=num_validation,
        num_test=num_test,
        predict=predict,
        predict_validation=predict_validation,
        test_truth=test_truth,
        probabilities=probabilities,
        out_of_distribution=out_of_distribution,
        reestimated=reestimated,
        is_deterministic=is_deterministic,
        training=training,
        selects_on_test=selects_on_test,
        validation_truth=validation_truth,
        validation_probabilities=validation_probabilities,
    )


def _of_length(labels: Tensor, expected: int) -> Tensor:
    if labels.shape[1] != expected:
        raise UserError(f"expected {expected} predictions per network, found {labels.shape[1]}")
    return labels
