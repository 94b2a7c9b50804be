"""Fine-tuning on as much training data as the generator saw, if it learned from training data.

Baselines use the originals alone, so a generator that looks at training data has more to go by.
Data-matched baselines were trained on as many examples: the average of the originals, several
times in other orders of the examples, as the luck of one order can be worth more than the
differences that are compared; and some originals, for a share each. Both are trained by the loss
that the budget allows: of labels or, without them, of the originals' predictions. Each average,
and the originals together, have seen exactly as many examples as the generator; choosing a
learning rate costs more, which is not counted against them.

The learning rate is that of the highest validation score, mean over a few of the networks, since
scores are compared; of equal ones that of the lowest loss. The range of rates is widened until the
best is no longer at its edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError
from paramdiff.methods.data_use import DataBudget
from paramdiff.methods.finetuning import (
    BATCH_SIZE,
    FURTHER_RATES,
    LEARNING_RATES,
    Loss,
    TrainingExamples,
    drawn_batches,
    fine_tuned,
)
from paramdiff.parameters.normalization import Normalization
from paramdiff.progress import StageProgress
from paramdiff.random import seeded_generator
from paramdiff.subsampling import evenly_spaced

NUM_ORIGINALS = 10
"""Originals that are trained, as long as there are as many generated networks."""
NUM_ORDERS = 5
"""Trainings of the average, each with an order of the examples of its own."""
NUM_CHOOSING = 3
"""Networks of a group that choose the learning rate together."""


@dataclass
class _Tried:
    """A learning rate and its results.

    Attributes:
        rate: in normalized parameters.
        networks: of those that choose, raw.
        quality: mean validation score and minus the mean loss; None where training diverged.
    """

    rate: float
    networks: list[Tensor] = field(default_factory=list)
    quality: tuple[float, float] | None = None


@dataclass(frozen=True)
class DataMatchedTraining:
    """Fine-tunes networks on the data budget of a generator.

    Attributes:
        originals: raw, ``[N, P]``.
        normalization: of the space in which they are trained.
        examples: the training split.
        budget: the data that the generator used.
        seed: of the order of the examples.
        progress: callback, called at every update.
        rates: the learning rate of each group that was made.
        tried: all rates that each of them chose from.
    """

    originals: Tensor
    normalization: Normalization
    examples: TrainingExamples
    budget: DataBudget
    seed: int
    progress: StageProgress
    rates: dict[str, float] = field(default_factory=dict)
    tried: dict[str, list[float]] = field(default_factory=dict)

    def average(self, name: str) -> Tensor:
        """Train the average of all originals in several orders of the examples.

        Args:
            name: of the group.

        Returns:
            Raw vectors ``[NUM_ORDERS, P]``.

        Raises:
            NotFiniteError: the training diverged at every learning rate.
        """
        mean = self.normalization.apply(self.originals.float()).mean(0, keepdim=True)
        starts = self.normalization.invert(mean).expand(NUM_ORDERS, -1)
        return self._trained(name, starts, [self.budget.images_seen] * NUM_ORDERS)

    def some_originals(self, name: str, most: int) -> tuple[Tensor, Tensor]:
        """Train evenly spaced originals, each on a share of the examples.

        Args:
            name: of the group.
            most: how many, at most.

        Returns:
            Raw vectors ``[M, P]``, and the index ``[M]`` of the original of each.

        Raises:
            NotFiniteError: the training diverged at every learning rate.
        """
        seen = self.budget.images_seen
        num = min(NUM_ORIGINALS, most, len(self.originals), seen)
        source = evenly_spaced(len(self.originals), num)
        shares = [seen // num + (number < seen % num) for number in range(num)]
        return self._trained(name, self.originals[source], shares), source

    def facts(self) -> dict[str, str]:
        """Describe the training, for the report; empty if nothing was trained."""
        if not self.rates:
            return {}
        chosen = "; ".join(
            f"{rate} for {name} (of {', '.join(map(str, self.tried[name]))}"
            f"{', at the edge of what is tried' if self._is_at_edge(name) else ''})"
            for name, rate in self.rates.items()
        )
        return {
            "Fine-tuned for comparison": f"Adam in batches of {BATCH_SIZE}, learning rate decayed "
            f"by a cosine; {NUM_ORDERS} trainings of the average, each with an order of examples "
            "of its own. The learning rate (normalized parameters) of the highest validation "
            f"score, mean of {NUM_CHOOSING} networks, then of the lowest loss: {chosen}"
        }

    def _is_at_edge(self, name: str) -> bool:
        return self.rates[name] in (min(self.tried[name]), max(self.tried[name]))

    def _trained(self, name: str, starts: Tensor, shares: list[int]) -> Tensor:
        """Train networks ``[M, P]``; the first few choose the learning rate for all."""
        work = _Work(self, name, starts, shares)
        choosing = range(len(starts))[:NUM_CHOOSING]
        tried: list[_Tried] = []
        for rate in self._widening(tried):
            tried.append(self._try(work, rate, choosing))
        rates = sorted(one.rate for one in tried)
        best_first = sorted(
            (one for one in tried if one.quality is not None),
            key=lambda one: one.quality or (),
            reverse=True,
        )
        for one in best_first:
            try:
                rest = [
                    work.train(number, one.rate) for number in range(len(starts))[len(choosing) :]
                ]
            except NotFiniteError:  # for the others it is too high: the next best
                continue
            self.rates[name], self.tried[name] = one.rate, rates
            return torch.stack([*one.networks, *rest])
        raise NotFiniteError(f"{name}: training diverged at every learning rate")

    def _widening(self, tried: list[_Tried]) -> Iterator[float]:
        """Yield the learning rates to try next, given the results of those so far."""
        yield from LEARNING_RATES
        lower, higher = (list(rates) for rates in (FURTHER_RATES[0][::-1], FURTHER_RATES[1]))
        while True:
            found = [one for one in tried if one.quality is not None]
            rates = [one.rate for one in tried]
            best = max(found, key=lambda one: one.quality or ()).rate if found else min(rates)
            if best == min(rates) and lower:
                yield lower.pop(0)
            elif best == max(rates) and higher:
                yield higher.pop(0)
            else:
                return

    def _try(self, work: "_Work", rate: float, choosing: range) -> _Tried:
        try:
            networks = [work.train(number, rate) for number in choosing]
            raw = torch.stack(networks)
            score = float(self.examples.validation_score(raw).double().mean())
            loss = float(self.examples.validation_loss(raw).double().mean())
        except NotFiniteError:
            return _Tried(rate)
        return _Tried(rate, networks, (score, -loss) if loss == loss else None)

    def loss(self, name: str, number: int) -> Loss:
        """Return the loss that the network of a number minimizes."""
        if self.budget.uses == "labels":
            return self.examples.label_loss
        generator = seeded_generator(self.seed, name, number, "teachers")
        return self.examples.distillation_loss(self.originals, generator)


class _Work:
    """Trains the networks of one group and reports progress.

    Args:
        training: of which group.
        name: of the group.
        starts: raw, ``[M, P]``.
        shares: how many examples each of them sees.
    """

    def __init__(
        self, training: DataMatchedTraining, name: str, starts: Tensor, shares: list[int]
    ) -> None:
        self._training, self._name, self._starts = training, name, starts
        self._batches = [
            drawn_batches(
                len(training.examples.labels),
                share,
                seeded_generator(training.seed, name, number),
            )
            for number, share in enumerate(shares)
        ]
        sizes = list(map(len, self._batches))
        self._done = 0
        self._total = sum(sizes) + (len(LEARNING_RATES) - 1) * sum(sizes[:NUM_CHOOSING])

    def train(self, number: int, rate: float) -> Tensor:
        """Train one network and return its raw vector ``[P]``."""
        training, batches = self._training, self._batches[number]
        start, loss = self._starts[number], training.loss(self._name, number)
        for vector in fine_tuned(start, batches, loss, training.normalization, rate, decays=True):
            self._done += 1
            self._total = max(self._total, self._done)
            training.progress(f"training {self._name}", self._done, self._total)
            last = vector
        return last
