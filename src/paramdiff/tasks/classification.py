"""Classification: labelled splits, cross-entropy and accuracy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.random import drawing_from
from paramdiff.scoring.inputs import batches
from paramdiff.scoring.predict import Scorer
from paramdiff.tasks.base import (
    OODInputs,
    ParameterSets,
    Scores,
    Split,
    SplitName,
    TaskDescription,
    data_sizes,
)

Augmented = Callable[[Tensor, torch.Generator], Tensor]
"""Rows ``[B]`` of the training split to their inputs ``[B, ...]``, freshly augmented."""


@dataclass(frozen=True)
class ClassificationTask:
    """Data and the network whose parameters are generated.

    Attributes:
        name: for people.
        train: what networks are trained on.
        validation: what selects; never trained on.
        test: scored once; selects nothing.
        build_network: an untrained network; draws from torch's global generator, which the caller
            seeds.
        augmented: training inputs ``[B, ...]`` of these rows ``[B]`` of the training split, as the
            generator's draws change them; None if training sees the inputs as they are.
        build_pretrained: the same network with published weights, where training starts from them.
        out_of_distribution: what a network should be less sure about, where there is such a set.
        network_name: for people; by default the class's name.
        inputs_in_words: what is done to the raw data before a network sees them, for people; None
            if nobody says.
    """

    score_name: ClassVar[str] = "accuracy"
    is_fraction: ClassVar[bool] = True

    name: str
    train: Split
    validation: Split
    test: Split
    build_network: Callable[[], nn.Module]
    augmented: Augmented | None = None
    build_pretrained: Callable[[], nn.Module] | None = None
    out_of_distribution: OODInputs | None = None
    network_name: str | None = None
    inputs_in_words: str | None = None

    @property
    def selects_on_test(self) -> bool:
        """True if the test split also selects, as in the paper."""
        return self.validation is self.test

    @property
    def num_train(self) -> int:
        """Examples that networks are trained on."""
        return len(self.train)

    @property
    def num_validation(self) -> int:
        """Examples that select."""
        return len(self.validation)

    @property
    def num_test(self) -> int:
        """Examples that are scored once."""
        return len(self.test)

    @property
    def as_classification(self) -> "ClassificationTask":
        """See ``Task``."""
        return self

    def training_inputs(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return training inputs ``[B, ...]`` of these rows, augmented if the task does so."""
        if self.augmented is not None:
            return self.augmented(rows, generator)
        return self.train.inputs[rows]

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Compute the mean cross-entropy of logits ``[B, K]`` on these training rows."""
        return F.cross_entropy(logits, self.train.labels[rows].to(logits.device))

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See ``Task``."""
        inputs = self.training_inputs(rows, generator)
        return self.loss(training_logits(network, inputs, generator), rows)

    @torch.no_grad()
    def score(self, network: nn.Module, split: SplitName) -> Scores:
        """See ``Task``; an example's score is whether it is right."""
        examples = self.validation if split == "validation" else self.test
        right = is_right(network, examples)
        return Scores(right, ~right)

    def validation_scorer(
        self, base: Mapping[str, Tensor], names: tuple[str, ...], device: torch.device
    ) -> Callable[[ParameterSets], list[float]]:
        """See ``Task``; all networks are scored together."""
        split = self.validation
        scorer = Scorer(self.build_network(), base, names, split.inputs, device=device)
        return lambda sets: [
            number / len(split)
            for number in (scorer.predict(sets) == split.labels).sum(1).tolist()
        ]

    def describe(self) -> TaskDescription:
        """See ``Task``; the number of classes is the largest label's, plus one."""
        most = max(int(one.labels.max()) for one in (self.train, self.validation, self.test))
        return TaskDescription(
            self.name,
            tuple(self.test.inputs[:1].shape[1:]),
            most + 1,
            self.num_train,
            self.num_validation,
            self.num_test,
            self.build_network,
        )

    def facts(self) -> dict[str, str]:
        """See ``Task``."""
        inputs = {} if self.inputs_in_words is None else {"Inputs": self.inputs_in_words}
        return {"Task": f"{self.name}: {data_sizes(self)}", **inputs}

    def test_data(self) -> str:
        """See ``Task``."""
        return f"on the {self.num_test:,} test examples of {self.name}"


def training_logits(network: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Compute logits ``[B, K]`` in the network's own mode; dropout draws from the generator."""
    device = next(network.parameters()).device
    with drawing_from(generator, device):
        return network(inputs.to(device))


@torch.no_grad()
def is_right(network: nn.Module, split: Split) -> Tensor:
    """Compute in evaluation mode which examples of a split a network gets right, bool ``[E]``."""
    was_training, device = network.training, next(network.parameters()).device
    network.eval()
    pairs = zip(batches(split.inputs, 500), split.labels.split(500), strict=True)
    found = [network(inputs.to(device)).argmax(1).cpu() == labels for inputs, labels in pairs]
    network.train(was_training)
    return torch.cat(found)
