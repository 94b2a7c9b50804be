"""What parameter vectors do on a task's examples: how the evaluation asks, whatever answers.

``experiment/behaviour.py`` answers by fast scoring, or one network at a time where a task brings
its own score. The evaluation sees scores, and what is wrong where anything is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.evaluation.fine_tuning import TrainingExamples
from paramdiff.evaluation.schema import OutOfDistribution


@dataclass(frozen=True)
class Answers:
    """What ``M`` networks do.

    Attributes:
        validation: scores ``[M, V]`` of validation examples, bool or float, higher is better;
            ``[M, 1]`` where only the whole split has a score.
        test: the same of test examples, ``[M, E]`` or ``[M, 1]``.
        wrong: ``[M, W]`` bool, what each gets wrong of the test split; None where nothing is
            right or wrong.
        labels: predicted test labels ``[M, E]``; None where the task is no classification.
    """

    validation: Tensor
    test: Tensor
    wrong: Tensor | None
    labels: Tensor | None = None


@dataclass(frozen=True)
class Behaviour:
    """Raw vectors ``[M, P]`` to scores.

    Attributes:
        num_validation: validation examples.
        num_test: test examples.
        answers: what the networks do. A ``NotFiniteError`` says that one of them computes NaN.
        score_name: for people.
        is_fraction: whether scores lie between 0 and 1 and read best as percentages.
        test_truth: true labels ``[E]``; None where the task is no classification.
        probabilities: class probabilities ``[E + O, K]`` of each network in turn: test examples
            first, then out-of-distribution inputs; None where there are none.
        out_of_distribution: what the ``O`` inputs are; None where there are none.
        recalibrated: test scores ``[M, E]`` after BatchNorm statistics were estimated anew on
            training inputs; None where that was not asked for.
        is_deterministic: whether the same network answers alike twice.
        training: the training split; None where the task is no classification.
        is_selected_on_test: whether validation and test scores are of the same data.
    """

    num_validation: int
    num_test: int
    answers: Callable[[Tensor], Answers]
    score_name: str = "accuracy"
    is_fraction: bool = True
    test_truth: Tensor | None = None
    probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None
    out_of_distribution: OutOfDistribution | None = None
    recalibrated: Callable[[Tensor], Tensor] | None = None
    is_deterministic: bool = True
    training: TrainingExamples | None = None
    is_selected_on_test: bool = False


def classification(
    labels: Callable[[Tensor], Tensor],
    validation_truth: Tensor,
    test_truth: Tensor,
    *,
    probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None,
    out_of_distribution: OutOfDistribution | None = None,
    recalibrated_labels: Callable[[Tensor], Tensor] | None = None,
    is_deterministic: bool = True,
    training: TrainingExamples | None = None,
    is_selected_on_test: bool = False,
) -> Behaviour:
    """The behaviour of classifiers: an example's score is whether its label is right.

    Args:
        labels: vectors ``[M, P]`` to labels ``[M, V + E]``: validation first, then test.
        validation_truth: true labels ``[V]``.
        test_truth: true labels ``[E]``.
        probabilities: as the attribute.
        out_of_distribution: as the attribute.
        recalibrated_labels: test labels ``[M, E]`` with BatchNorm statistics estimated anew.
        is_deterministic: as the attribute.
        training: as the attribute.
        is_selected_on_test: as the attribute.

    Returns:
        The behaviour. Its answers raise a ``UserError`` where labels have the wrong length.
    """
    num_validation, num_test = len(validation_truth), len(test_truth)

    def answers(vectors: Tensor) -> Answers:
        found = labels(vectors)
        if found.shape[1] != num_validation + num_test:
            raise UserError(
                f"expected {num_validation + num_test} predictions per network, found "
                f"{found.shape[1]}"
            )
        own, test = found.split([num_validation, num_test], dim=1)
        is_right = test == test_truth
        return Answers(own == validation_truth, is_right, ~is_right, test)

    def recalibrated(vectors: Tensor) -> Tensor:
        assert recalibrated_labels is not None
        return recalibrated_labels(vectors) == test_truth

    return Behaviour(
        num_validation=num_validation,
        num_test=num_test,
        answers=answers,
        test_truth=test_truth,
        probabilities=probabilities,
        out_of_distribution=out_of_distribution,
        recalibrated=None if recalibrated_labels is None else recalibrated,
        is_deterministic=is_deterministic,
        training=training,
        is_selected_on_test=is_selected_on_test,
    )
