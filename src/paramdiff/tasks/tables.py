"""Tasks whose examples are vectors: tables bundled with scikit-learn, or the user's arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.tasks.base import Split, TaskDescription, network_builders
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.digits import refuse_root
from paramdiff.tasks.splits import carve, split_sizes
from paramdiff.tasks.task_settings import TaskSettings

TEST_SHARE = 0.4  # of a bundled table, which has no test split of its own


@dataclass(frozen=True)
class Table:
    """Rows of numbers and their classes.

    Attributes:
        title: display name.
        num_classes: ``K``.
        x_train: float ``[N, F]``.
        y_train: int64 ``[N]``.
        x_test: float ``[E, F]``.
        y_test: int64 ``[E]``.
    """

    title: str
    num_classes: int
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


@dataclass(frozen=True)
class VectorTask:
    """A recipe's task on a table."""

    table: Table
    settings: TaskSettings

    def __post_init__(self) -> None:
        for field in ("augment", "image_size"):
            if getattr(self.settings, field):
                raise UserError(f"task.{field}: {self.table.title} has vectors, not images")

    @property
    def network(self) -> NetworkSettings:
        """The recipe's, or a small perceptron."""
        return self.settings.network or NetworkSettings(name="mlp")

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``."""
        table, shape = self.table, tuple(self.table.x_train.shape[1:])
        sizes = split_sizes(
            len(table.y_train), len(table.y_test), table.num_classes, self.settings.protocol
        )
        build, _ = network_builders(self.network, table.num_classes, shape)
        return TaskDescription(table.title, shape, table.num_classes, *sizes, build)

    def build(self) -> ClassificationTask:
        """See ``TaskSpec``."""
        table, is_paper = self.table, self.settings.protocol == "paper"
        rows = aside = torch.arange(len(table.y_train))
        if not is_paper:
            rows, aside = carve(table.y_train, table.num_classes, self.settings.seed)
        mean, std = table.x_train[rows].mean(0), table.x_train[rows].std(0)
        told = "as they are"
        if self.settings.standardize:
            told = (
                f"standardized by the mean and standard deviation of {len(rows):,} training rows"
            )

        def split(inputs: Tensor, labels: Tensor) -> Split:
            if self.settings.standardize:
                inputs = (inputs - mean) / std.where(std > 0, torch.ones(()))
            return Split(inputs, labels)

        test = split(table.x_test, table.y_test)
        validation = test if is_paper else split(table.x_train[aside], table.y_train[aside])
        build, _ = network_builders(
            self.network, table.num_classes, tuple(table.x_train.shape[1:])
        )
        train = split(table.x_train[rows], table.y_train[rows])
        return ClassificationTask(
            table.title,
            train,
            validation,
            test,
            build,
            network_name=self.network.name,
            inputs_in_words=told,
        )


def bundled(title: str, load: Callable) -> Callable[[TaskSettings], VectorTask]:
    """Build a table that comes with scikit-learn.

    Args:
        title: display name.
        load: scikit-learn's function.

    Returns:
        From a recipe's settings to the task.
    """

    def source(settings: TaskSettings) -> VectorTask:
        refuse_root(settings)
        inputs, labels = load(return_X_y=True)
        train, test = train_test_split(
            range(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=settings.seed
        )
        x = torch.tensor(inputs, dtype=torch.float32)
        y = torch.tensor(labels, dtype=torch.int64)
        table = Table(title, int(y.max()) + 1, x[train], y[train], x[test], y[test])
        return VectorTask(table, settings)

    return source


wine = bundled("scikit-learn wine", load_wine)
breast_cancer = bundled("scikit-learn breast cancer", load_breast_cancer)
