"""What as much training data gives without a generator, where the generator learned from data.

Free alternatives use the originals alone, so a generator that looks at training data has more to
go by. Beside it stand networks that were trained on as many examples: the average of the
originals, and some originals for a share each. Both are trained by the loss that the budget
allows: of labels or, without them, of what the originals answer. The last updates have seen
exactly as many examples as the generator; choosing a learning rate costs more, which is not
counted against them.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from paramdiff.engine import seeded_generator
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.data_use import DataBudget
from paramdiff.evaluation.fine_tuning import (
    BATCH_SIZE,
    LEARNING_RATES,
    Loss,
    TrainingExamples,
    drawn_batches,
    fine_tuned,
)
from paramdiff.evaluation.groups import Candidates
from paramdiff.parameters.normalisation import Normalisation
from paramdiff.progress import Report
from paramdiff.subsampling import evenly_spaced

AVERAGE, ORIGINALS = "fine_tuned_average", "fine_tuned_originals"
RIVALS = (AVERAGE, ORIGINALS)
"""The groups that saw as much training data as the generator."""
NUM_ORIGINALS = 10
"""Originals that are trained, as long as there are as many generated networks."""

"""The name of the work, updates done and updates in all."""


@dataclass(frozen=True)
class Rivalry:
    """Makes the rivals of a generator that learned from training data.

    Attributes:
        originals: raw, ``[N, P]``.
        normalisation: of the space in which they are trained.
        examples: what they are trained on.
        budget: what the generator used.
        seed: of the order of the examples.
        told: hears of every update.
        rates: the learning rate of each group that was made.
    """

    originals: Tensor
    normalisation: Normalisation
    examples: TrainingExamples
    budget: DataBudget
    seed: int
    report: Report
    rates: dict[str, float] = field(default_factory=dict)

    def make(self, name: str, num_generated: int) -> Candidates:
        """Make one of ``RIVALS``.

        Args:
            name: which.
            num_generated: how many networks it stands beside.

        Returns:
            The group.

        Raises:
            NotFiniteError: its training diverged at every learning rate.
        """
        source = None
        if name == AVERAGE:
            mean = self.normalisation.apply(self.originals.float()).mean(0, keepdim=True)
            starts = self.normalisation.invert(mean)
        else:
            num = min(NUM_ORIGINALS, num_generated, len(self.originals), self.budget.images_seen)
            source = evenly_spaced(len(self.originals), num)
            starts = self.originals[source]
        raw = self._trained(name, starts)
        vectors = self.normalisation.apply(raw)
        return Candidates(name, raw, vectors, source, data=self.budget.use)

    def facts(self) -> dict[str, str]:
        """How the rivals were trained, for the report; nothing where none was."""
        if not self.rates:
            return {}
        tried = ", ".join(map(str, LEARNING_RATES))
        chosen = ", ".join(f"{rate} for {name}" for name, rate in self.rates.items())
        return {
            "Fine-tuned for comparison": f"Adam in batches of {BATCH_SIZE}, learning rate decayed "
            f"by a cosine; of {tried} (normalised parameters) validation loss chose {chosen}"
        }

    def _trained(self, name: str, starts: Tensor) -> Tensor:
        """The trained networks ``[M, P]``; the first one chooses the learning rate for all."""
        share, rest = divmod(self.budget.images_seen, len(starts))
        batches = [
            drawn_batches(
                len(self.examples.labels),
                share + (number < rest),
                seeded_generator(self.seed, name, number),
            )
            for number in range(len(starts))
        ]
        total = sum(map(len, batches)) + (len(LEARNING_RATES) - 1) * len(batches[0])
        done = itertools.count(1)

        def trained(number: int, learning_rate: float) -> Tensor:
            start, loss = starts[number], self._loss(name, number)
            for vector in fine_tuned(
                start, batches[number], loss, self.normalisation, learning_rate, decays=True
            ):
                self.report(f"training {name}", next(done), total)
                last = vector
            return last

        rate, first = self._at_the_best_rate(partial(trained, 0))
        networks = torch.stack([first, *(trained(n, rate) for n in range(1, len(starts)))])
        self.rates[name] = rate  # told of groups that are there
        return networks

    def _at_the_best_rate(self, train: Callable[[float], Tensor]) -> tuple[float, Tensor]:
        """The learning rate whose network is best on validation data, and that network."""
        tried, diverged = [], None
        for rate in LEARNING_RATES:
            try:
                vector = train(rate)
                loss = float(self.examples.validation_loss(vector[None]))
            except NotFiniteError as error:
                diverged = error
            else:
                tried.append((loss, rate, vector))
        if diverged is not None and not tried:
            raise diverged
        _, rate, vector = min(tried, key=lambda one: one[0])
        return rate, vector

    def _loss(self, name: str, number: int) -> Loss:
        if self.budget.uses == "labels":
            return self.examples.label_loss
        generator = seeded_generator(self.seed, name, number, "teachers")
        return self.examples.answer_loss(self.originals, generator)
