"""The task data that a method uses beside the originals' parameters."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataUse:
    """The task data that a method used.

    Attributes:
        kind: nothing, inputs without their labels, or labels.
        split: of which split; None if nothing was used.
        images_seen: examples of it, each as often as a network was trained on it; None if
            nothing was trained.
    """

    kind: Literal["none", "inputs", "labels"] = "none"
    split: Literal["training", "validation"] | None = None
    images_seen: int | None = None

    @property
    def in_words(self) -> str:
        """The object of a verb: ``labels of 6,400 training examples``, or ``none``."""
        if self.kind == "none":
            return "none"
        count = "" if self.images_seen is None else f"{self.images_seen:,} "
        return f"{self.kind} of {count}{self.split} examples"


NO_DATA = DataUse()


@dataclass(frozen=True)
class DataBudget:
    """The training data of one generator.

    Attributes:
        images_seen: examples, each as often as a network was trained on it; for a codec whose
            decoded networks are trained, those of a batch x networks x updates.
        uses: their labels, or the inputs alone.
    """

    images_seen: int
    uses: Literal["inputs", "labels"]

    @property
    def use(self) -> DataUse:
        """The data use of the generated networks, and of data-matched baselines."""
        return DataUse(self.uses, "training", self.images_seen)


def data_used(budget: DataBudget | None) -> DataUse:
    """Return the data use of a generator with a budget."""
    return NO_DATA if budget is None else budget.use


def budget_of(used: DataUse | None) -> DataBudget | None:
    """Return the budget of networks with a data use; None if none is known."""
    if used is None or used.kind == "none" or used.images_seen is None:
        return None
    return DataBudget(used.images_seen, used.kind)
