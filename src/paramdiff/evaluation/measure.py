"""Predictions and vectors of the groups to the numbers of ``evaluation.json``."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from paramdiff.evaluation.intervals import Bootstrap, percentile_interval
from paramdiff.evaluation.schema import Accuracy, BestOfN, Comparison, Distance, Group, Summary
from paramdiff.evaluation.similarity import (
    maximum_similarity,
    pairwise_similarity,
    wrong_predictions,
)
from paramdiff.evaluation.spread import dispersion, nearest_distance


@dataclass(frozen=True)
class Scored:
    """A group of parameter sets with their predictions.

    Attributes:
        vectors: ``[M, P]``, normalised per tensor.
        validation_labels: predicted, ``[M, V]``.
        test_labels: predicted, ``[M, E]``.
        source: ``[M]`` index of the original that each was made from, where there is one.
        data_used: what the construction looked at beside the parameters.
    """

    vectors: Tensor
    validation_labels: Tensor
    test_labels: Tensor
    source: Tensor | None = None
    data_used: Literal["none", "inputs", "labels"] = "none"


@dataclass(frozen=True)
class Measurements:
    """Measures groups against one set of originals.

    Attributes:
        scored: every group, ``original`` among them.
        validation_truth: ``[V]``.
        test_truth: ``[E]``.
        bootstrap: shared draws of test examples.
    """

    scored: dict[str, Scored]
    validation_truth: Tensor
    test_truth: Tensor
    bootstrap: Bootstrap
    _draws: dict[str, Tensor] = field(default_factory=dict)

    def wrong(self, name: str) -> Tensor:
        """Error indicators ``[M, E]`` on the test split."""
        return wrong_predictions(self.scored[name].test_labels, self.test_truth)

    def accuracies(self, name: str) -> Tensor:
        """Test accuracy ``[M]``."""
        return 1 - self.wrong(name).mean(1)

    def maximum_similarities(self, name: str, *, with_source: bool = False) -> Tensor | None:
        """Maximum similarity ``[M]`` to the originals; None where no original is left."""
        source = None if with_source else self._excluded(name)
        values = maximum_similarity(self.wrong(name), self.wrong("original"), source)
        return values if torch.isfinite(values).all() else None

    def group(self, name: str) -> Group:
        """All numbers of one group."""
        scored = self.scored[name]
        distances = nearest_distance(
            scored.vectors, self.scored["original"].vectors, self._excluded(name)
        )
        has_source = scored.source is not None
        return Group(
            n=len(scored.vectors),
            accuracy=self._accuracy(name),
            max_similarity=_summary(self.maximum_similarities(name)),
            max_similarity_with_source=_summary(self.maximum_similarities(name, with_source=True))
            if has_source
            else None,
            pairwise_similarity=pairwise_similarity(self.wrong(name)),
            min_distance=Distance(
                mean=float(distances.mean()),
                min=float(distances.min()),
                max=float(distances.max()),
            )
            if torch.isfinite(distances).all()
            else None,
            dispersion=dispersion(scored.vectors, self.scored["original"].vectors),
            data_used=scored.data_used,
        )

    def compare(self, name: str, reference: str) -> Comparison:
        """The paired difference of mean accuracies, ``name`` minus ``reference``."""
        draws = self._means(name) - self._means(reference)
        difference = self.accuracies(name).mean() - self.accuracies(reference).mean()
        return Comparison(
            group=name,
            reference=reference,
            reference_dispersion=dispersion(
                self.scored[reference].vectors, self.scored["original"].vectors
            ),
            difference=float(difference),
            ci95=percentile_interval(draws),
        )

    def best_of(self, name: str, n: int) -> BestOfN:
        """The best of the first ``n`` on validation data, scored once on test data."""
        scored = self.scored[name]
        validation = (scored.validation_labels[:n] == self.validation_truth).float().mean(1)
        best = int(validation.argmax())
        return BestOfN(
            n=min(n, len(validation)),
            validation_accuracy=float(validation[best]),
            test_accuracy=float(self.accuracies(name)[best]),
        )

    def _excluded(self, name: str) -> Tensor | None:
        if name == "original":
            return torch.arange(len(self.scored[name].vectors))
        return self.scored[name].source

    def _means(self, name: str) -> Tensor:
        if name not in self._draws:
            stream = list(self.scored).index(name)
            self._draws[name] = self.bootstrap.means(1 - self.wrong(name), stream)
        return self._draws[name]

    def _accuracy(self, name: str) -> Accuracy:
        values = self.accuracies(name).double()
        return Accuracy(
            mean=float(values.mean()),
            std=float(values.std(correction=0)),
            min=float(values.min()),
            max=float(values.max()),
            median=float(values.quantile(0.5)),
            ci95=percentile_interval(self._means(name)),
        )


def _summary(values: Tensor | None) -> Summary | None:
    if values is None:
        return None
    return Summary(
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        min=float(values.min()),
        max=float(values.max()),
    )
