"""Score every group; what is needed again is kept, the other vectors are not."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.evaluation.baselines.construction import Material
from paramdiff.evaluation.behaviour import Behaviour
from paramdiff.evaluation.groups import (
    Candidates,
    free_groups,
    given_groups,
    latents_of,
    left_out,
)
from paramdiff.evaluation.intervals import Bootstrap
from paramdiff.evaluation.measure import Measurements, Scored, Space
from paramdiff.evaluation.subject import Subject
from paramdiff.evaluation.trajectory import Sequence, sequence_of
from paramdiff.parameters.normalisation import fit_normalisation

KEPT = ("original", "generated", "average@all", "average@16", "gaussian@1.0", "swag@1.0")
"""Groups whose vectors are used after scoring."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Examined:
    """Every group, scored.

    Attributes:
        measured: predictions and positions of every group.
        kept: vectors of the groups of ``KEPT``.
        sequence: how the order of the originals shows in their distances.
        left_out: baselines that could not be made, as a fact for the report.
    """

    measured: Measurements
    kept: dict[str, Candidates]
    sequence: Sequence | None
    left_out: dict[str, str]


def examine(subject: Subject, behaviour: Behaviour, seed: int, progress: Progress) -> Examined:
    """Make and score every group.

    Args:
        subject: originals, generated networks and where they come from.
        behaviour: predicts labels.
        seed: of the baselines' and the bootstrap's draws.
        progress: told how many parameter sets are scored, and about how many there are.

    Returns:
        The groups.

    Raises:
        UserError: parameters or predictions are not finite, or predictions have the wrong length.
    """
    measured = Measurements(
        {},
        behaviour.validation_truth,
        behaviour.test_truth,
        Bootstrap.over(len(behaviour.test_truth), seed=seed),
    )
    normalisation = fit_normalisation(subject.originals, subject.layout, "tensor")
    given = given_groups(subject, normalisation)
    original = next(given)
    space = Space(original.vectors, subject.layout)
    answers = _Answers(behaviour, progress, 2 * len(original.raw) + 20 * len(subject.generated))
    kept: dict[str, Candidates] = {}

    def add(group: Candidates) -> None:
        if not torch.isfinite(group.raw).all():
            raise UserError(f"group {group.name!r}: the parameters hold NaN or infinite values")
        validation_labels, test_labels = answers.labels(group.raw, f"group {group.name!r}")
        measured.scored[group.name] = Scored(
            position=space.position(group.vectors, group.source),
            validation_labels=validation_labels,
            test_labels=test_labels,
            source=group.source,
            seeds=group.seeds,
            data_used=group.data_used,
        )
        if group.name in KEPT:
            kept[group.name] = group

    add(original)
    for group in given:
        add(group)
    latents, decode = latents_of(subject, original.vectors, normalisation)
    untrained = subject.untrained
    material = Material(
        originals=original.vectors,
        layout=subject.layout,
        normalisation=normalisation,
        latents=latents,
        decode=decode,
        untrained=None
        if untrained is None
        else lambda number: normalisation.apply(untrained(number).float()),
        validation_accuracy=answers.accuracy(measured.scored["original"].validation_labels),
        validate=lambda vectors: answers.accuracy(
            answers.labels(normalisation.invert(vectors), "greedy soup")[0]
        ),
    )
    for group in free_groups(material, kept["generated"].vectors, seed):
        add(group)
    return Examined(measured, kept, sequence_of(original.vectors, seed), left_out(material))


class _Answers:
    """Asks for labels, checks them and tells the progress."""

    def __init__(self, behaviour: Behaviour, progress: Progress, expected: int) -> None:
        self._behaviour, self._progress = behaviour, progress
        self._done, self._expected = 0, expected

    def labels(self, raw: Tensor, whose: str) -> tuple[Tensor, Tensor]:
        """Validation labels ``[M, V]`` and test labels ``[M, E]``."""
        num_validation = len(self._behaviour.validation_truth)
        num_examples = num_validation + len(self._behaviour.test_truth)
        try:
            found = self._behaviour.labels(raw)
        except UserError as error:
            raise UserError(f"{whose}: {error}") from None
        if found.shape[1] != num_examples:
            raise UserError(
                f"{whose}: expected {num_examples} predictions per network, found {found.shape[1]}"
            )
        self._done += len(raw)
        self._progress(self._done, max(self._done, self._expected))
        return found[:, :num_validation], found[:, num_validation:]

    def accuracy(self, validation_labels: Tensor) -> Tensor:
        """Validation accuracy ``[M]``."""
        return (validation_labels == self._behaviour.validation_truth).float().mean(1)
