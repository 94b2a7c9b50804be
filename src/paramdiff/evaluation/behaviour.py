"""What parameter vectors do on a task's examples: how the evaluation asks, whatever answers.

``experiment/assess.py`` answers by fast scoring; a callable task answers one network at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from paramdiff.evaluation.schema import OutOfDistribution


@dataclass(frozen=True)
class Behaviour:
    """Raw vectors ``[M, P]`` to predictions.

    Attributes:
        validation_truth: true labels ``[V]``.
        test_truth: true labels ``[E]``.
        labels: predicted labels ``[M, V + E]``: validation first, then test.
        probabilities: class probabilities ``[E + O, K]`` of each network in turn: test examples
            first, then out-of-distribution inputs; None where a task has labels only.
        out_of_distribution: what the ``O`` inputs are; None where there are none.
        recalibrated_labels: test labels ``[M, E]`` after BatchNorm statistics were estimated anew
            on training inputs; None where that was not asked for.
        is_deterministic: whether the same network answers alike twice.
    """

    validation_truth: Tensor
    test_truth: Tensor
    labels: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Iterator[Tensor]] | None = None
    out_of_distribution: OutOfDistribution | None = None
    recalibrated_labels: Callable[[Tensor], Tensor] | None = None
    is_deterministic: bool = True
