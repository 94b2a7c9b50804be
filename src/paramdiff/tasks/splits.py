"""Training data into training and validation data, each class in proportion."""

import torch
from torch import Tensor

from paramdiff.errors import UserError

SHARE = 10  # one training example of so many selects
MOST = 5_000


def num_validation(num_train: int, num_classes: int) -> int:
    """Number of training examples to set aside: a tenth, at least one per class, at most 5,000."""
    return min(MOST, max(num_classes, round(num_train / SHARE)))


def split_sizes(
    num_train: int, num_test: int, num_classes: int, protocol: str
) -> tuple[int, int, int]:
    """The sizes of the three splits.

    Args:
        num_train: all examples that may be trained on.
        num_test: the test examples.
        num_classes: ``K``.
        protocol: ``validation`` or ``paper``, see ``TaskSettings``.

    Returns:
        Training, validation and test examples.
    """
    if protocol == "paper":
        return num_train, num_test, num_test
    aside = num_validation(num_train, num_classes)
    return num_train - aside, aside, num_test


def carve(labels: Tensor, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows for training and rows for validation.

    Args:
        labels: of all examples that may be trained on, ``[N]``.
        num_classes: ``K``.
        seed: of the choice.

    Returns:
        Two ascending sets of row numbers that are a partition of all.

    Raises:
        UserError: there are too few examples of a class.
    """
    from sklearn.model_selection import train_test_split

    aside = num_validation(len(labels), num_classes)
    try:
        train, validation = train_test_split(
            range(len(labels)), test_size=aside, stratify=labels.numpy(), random_state=seed
        )
    except ValueError as error:
        raise UserError(
            f"task.protocol: {len(labels)} training examples of {num_classes} classes are too few "
            f"to set {aside} of them aside for validation: {error}"
        ) from None
    return torch.tensor(sorted(train)), torch.tensor(sorted(validation))
