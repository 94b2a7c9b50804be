"""What task data a group was made with, beside the originals' parameters."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataUse:
    """What the making of a group looked at.

    Attributes:
        kind: nothing, inputs without their labels, or labels.
        split: of which split; None where nothing was looked at.
        images_seen: examples of it, each as often as a network was trained on it; None where
            nothing was trained.
    """

    kind: Literal["none", "inputs", "labels"] = "none"
    split: Literal["training", "validation"] | None = None
    images_seen: int | None = None

    @property
    def in_words(self) -> str:
        """As an object of a verb: ``labels of 6,400 training examples``, or ``none``."""
        if self.kind == "none":
            return "none"
        count = "" if self.images_seen is None else f"{self.images_seen:,} "
        return f"{self.kind} of {count}{self.split} examples"


NO_DATA = DataUse()


@dataclass(frozen=True)
class DataBudget:
    """The training data that one generator learned from.

    Attributes:
        images_seen: examples, each as often as a network was trained on it: of a codec whose
            decoded networks are trained, those of a batch x networks x updates.
        uses: whether their labels, or the inputs alone.
    """

    images_seen: int
    uses: Literal["inputs", "labels"]

    @property
    def use(self) -> DataUse:
        """What the generated networks were made with, and what their rivals may use."""
        return DataUse(self.uses, "training", self.images_seen)


def data_used(budget: DataBudget | None) -> DataUse:
    """What a generator of a budget was made with."""
    return NO_DATA if budget is None else budget.use


def budget_of(used: DataUse | None) -> DataBudget | None:
    """The training data that networks were made with; None where none is known of."""
    if used is None or used.kind == "none" or used.images_seen is None:
        return None
    return DataBudget(used.images_seen, used.kind)
