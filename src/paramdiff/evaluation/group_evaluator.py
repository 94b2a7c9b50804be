"""Evaluate group after group: predictions and places in parameter space, and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.metrics.aligned_distance import AlignedSpace
from paramdiff.evaluation.metrics.base import GroupMeasurements
from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.evaluation.sample_groups import SampleGroup
from paramdiff.memmap import free_pages, row_blocks
from paramdiff.methods.registry import groups_in
from paramdiff.progress import Progress
from paramdiff.subsampling import evenly_spaced

NUM_FINETUNED = 5
"""Networks of a group that are kept for fine-tuning curves."""
NOT_FINITE = "its networks compute NaN or infinite values"


class CountedPredictor:
    """Predicts, and counts networks for the progress.

    Args:
        predictor: of the task.
        progress: called with the networks so far, and about how many there are.
        expected: about how many networks there are.
    """

    def __init__(self, predictor: Predictor, progress: Progress, expected: int) -> None:
        self._predictor, self._progress = predictor, progress
        self._done, self._expected = 0, expected

    def predict(self, group: SampleGroup) -> Predictions:
        """Predict for a group, after the last step of its method; errors name the group."""
        predictor = self._predictor
        if group.finish == "batchnorm":
            assert predictor.reestimated is not None
            predictor = predictor.reestimated
        try:
            found = predictor.predict(group.raw)
        except UserError as error:
            raise type(error)(f"group {group.name!r}: {error}") from None
        self.count(len(group.raw))
        return found

    def predict_validation(self, predictor: Predictor, raw: Tensor) -> ValidationPredictions:
        """Predict for raw vectors ``[M, P]`` on validation data alone."""
        found = predictor.predict_validation(raw)
        self.count(len(raw))
        return found

    def finish(self) -> None:
        """Report that all networks are done."""
        self._progress(self._done, self._done)

    def count(self, num: int) -> None:
        """Count networks that were predicted for."""
        self._done += num
        self._progress(self._done, max(self._done, self._expected))


@dataclass
class GroupEvaluator:
    """Evaluates groups one by one; most vectors are not kept.

    Attributes:
        references: the originals, beside which groups are measured.
        aligned: the same up to permutations; None if these are not known.
        predictor: of the task.
        used_again: names of the groups whose vectors are kept.
        finetuned: names of those of which a few networks are kept.
        scored: every group so far.
        kept: of ``used_again``.
        starts: of ``finetuned``.
        failed: groups that were left out, with the reason.
        facts: choices made while groups were made, for the report.
    """

    references: ReferenceSet
    aligned: AlignedSpace | None
    predictor: CountedPredictor
    used_again: tuple[str, ...]
    finetuned: tuple[str, ...]
    scored: dict[str, GroupMeasurements] = field(default_factory=dict)
    kept: dict[str, SampleGroup] = field(default_factory=dict)
    starts: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, group: SampleGroup) -> None:
        """Evaluate a group.

        Args:
            group: its networks.

        Raises:
            NotFiniteError: parameters or predictions are NaN or infinite.
            UserError: predictions have the wrong form.
        """
        if not all(torch.isfinite(rows).all() for rows in row_blocks(group.raw)):
            raise NotFiniteError(
                f"group {group.name!r}: the parameters hold NaN or infinite values"
            )
        predictions = self.predictor.predict(group)
        free_pages(group.raw)
        parameters = self.references.measure(group.vectors, group.source)
        if self.aligned is not None and group.name in groups_in("aligned distance"):
            excluded = group.source if group.name == "original" else None
            nearest = self.aligned.nearest(group.vectors, excluded)
            parameters = replace(parameters, aligned=nearest)
        self.scored[group.name] = GroupMeasurements(
            parameters=parameters,
            predictions=predictions,
            source=group.source,
            seeds=group.seeds,
            data=group.data_used,
        )
        self.facts |= group.facts
        if group.name in self.used_again:
            self.kept[group.name] = group
        if group.name in self.finetuned:
            self.starts[group.name] = group.raw[evenly_spaced(len(group.raw), NUM_FINETUNED)]

    def try_to_add(self, name: str, make: Callable[[], SampleGroup]) -> None:
        """Make and evaluate a group, or note that its networks compute no numbers."""
        try:
            self.add(make())
        except NotFiniteError:
            self.failed[name] = NOT_FINITE
