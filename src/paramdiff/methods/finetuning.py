"""Short fine-tuning from given parameters, as a user with training data does without a generator.

Adam moves the vector as it is normalized per tensor, so that one learning rate suits tensors of
any size and running variances stay positive. All of it moves, running statistics included.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from paramdiff.errors import NotFiniteError
from paramdiff.parameters.normalization import Normalization

BATCH_SIZE = 64
LEARNING_RATES = (0.003, 0.02, 0.1)
"""In units of each tensor's standard deviation; validation data choose."""
FURTHER_RATES = (2.5e-5, 1.2e-4, 6e-4), (0.5, 2.5, 12.0)
"""Added one by one while the best is the lowest or the highest, if the range is widened."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Raw vector ``[P]`` and rows ``[B]`` of the training split to a scalar."""


@dataclass(frozen=True)
class TrainingExamples:
    """Training and validation examples of a classification task, as functions of parameters.

    Attributes:
        logits: raw vector ``[P]`` and rows ``[B]`` to logits ``[B, K]``, through which gradients
            reach the vector.
        labels: of the training split, ``[T]``.
        validation_score: raw vectors ``[M, P]`` to their accuracy ``[M]`` on validation examples,
            in which networks are compared.
        validation_loss: the same to their mean cross-entropy ``[M]``. It tells rates apart that
            are equally accurate, of which the higher one may leave networks too sure.
    """

    logits: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor
    validation_score: Callable[[Tensor], Tensor]
    validation_loss: Callable[[Tensor], Tensor]

    def label_loss(self, vector: Tensor, rows: Tensor) -> Tensor:
        """Compute the mean cross-entropy of the labels."""
        logits = self.logits(vector, rows)
        return F.cross_entropy(logits, self.labels[rows].to(logits.device))

    def distillation_loss(self, teachers: Tensor, generator: torch.Generator) -> Loss:
        """Return a loss without labels: the cross-entropy of the predictions of other networks.

        Each batch takes the class probabilities of one teacher, drawn anew, so that on average
        the mean of all teachers is learned.

        Args:
            teachers: raw vectors ``[N, P]``.
            generator: of the draws.

        Returns:
            The loss.
        """

        def loss(vector: Tensor, rows: Tensor) -> Tensor:
            teacher = teachers[int(torch.randint(len(teachers), (), generator=generator))]
            with torch.no_grad():
                targets = self.logits(teacher, rows).softmax(1)
            return F.cross_entropy(self.logits(vector, rows), targets)

        return loss


def drawn_batches(num_examples: int, num_drawn: int, generator: torch.Generator) -> list[Tensor]:
    """Draw rows of shuffled passes over a split, in batches.

    Args:
        num_examples: of the split.
        num_drawn: rows in all, at least 1.
        generator: of the orders.

    Returns:
        Rows ``[B]`` of each update; the last one may have fewer.
    """
    num_passes = -(-num_drawn // num_examples)
    passes = [torch.randperm(num_examples, generator=generator) for _ in range(num_passes)]
    return list(torch.cat(passes)[:num_drawn].split(BATCH_SIZE))


def fine_tuned(
    start: Tensor,
    batches: Sequence[Tensor],
    loss: Loss,
    normalization: Normalization,
    learning_rate: float,
    *,
    decays: bool,
) -> Iterator[Tensor]:
    """Train one network.

    Args:
        start: raw vector ``[P]``; not changed.
        batches: rows of each update.
        loss: what is minimized.
        normalization: of the space in which Adam moves.
        learning_rate: at the first update.
        decays: whether it falls to 0 along a cosine; otherwise it is constant.

    Yields:
        The raw vector ``[P]`` after each update.

    Raises:
        NotFiniteError: a loss is NaN or infinite.
    """
    point = normalization.apply(start.float()).requires_grad_()
    optimizer = torch.optim.Adam([point], lr=learning_rate, fused=True)
    schedule = CosineAnnealingLR(optimizer, len(batches)) if decays else None
    for update, rows in enumerate(batches):
        value = loss(normalization.invert(point), rows)
        if not torch.isfinite(value):
            raise NotFiniteError(f"fine-tuning: the loss of update {update} is {value.item()}")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        yield normalization.invert(point.detach())
