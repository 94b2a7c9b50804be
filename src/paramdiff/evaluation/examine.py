"""Score every group; what is needed again is kept, the other vectors are not."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.aligned import MEASURED, AlignedSpace
from paramdiff.evaluation.baselines.construction import Material
from paramdiff.evaluation.behaviour import Answers, Behaviour
from paramdiff.evaluation.groups import (
    Candidates,
    constructed,
    free_baselines,
    given_groups,
    latents_of,
    left_out,
)
from paramdiff.evaluation.intervals import Bootstrap
from paramdiff.evaluation.measure import Measurements, Scored, Space
from paramdiff.evaluation.subject import Subject
from paramdiff.evaluation.trajectory import Sequence, sequence_of
from paramdiff.mapped import release, row_blocks
from paramdiff.parameters.normalisation import fit_normalisation

KEPT = ("original", "generated", "average@all", "swag@1.0")
"""Groups whose vectors are used after scoring."""
RECALIBRATED = ("average@16", "gaussian@1.0")
"""Those that are used besides where networks get new BatchNorm statistics."""
NOT_FINITE = "its networks compute NaN or infinite values"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Examined:
    """Every group, scored.

    Attributes:
        measured: scores and positions of every group.
        kept: vectors of the groups that are used after scoring.
        sequence: how the order of the originals shows in their distances.
        is_single_trajectory: whether all originals come from one run and lie along it.
        left_out: baselines that are not there, as a fact for the report.
    """

    measured: Measurements
    kept: dict[str, Candidates]
    sequence: Sequence | None
    is_single_trajectory: bool
    left_out: dict[str, str]


def examine(subject: Subject, behaviour: Behaviour, seed: int, progress: Progress) -> Examined:
    """Make and score every group.

    A free alternative whose networks compute no numbers is left out; what is given must be scored.

    Args:
        subject: originals, generated networks and where they come from.
        behaviour: answers for networks.
        seed: of the baselines' and the bootstrap's draws.
        progress: told how many parameter sets are scored, and about how many there are.

    Returns:
        The groups.

    Raises:
        UserError: parameters or answers of given networks are not finite, or answers have the
            wrong form.
    """
    normalisation = fit_normalisation(subject.originals, subject.layout, "tensor")
    given = given_groups(subject, normalisation)
    original = next(given)
    sequence = sequence_of(original.vectors, seed)
    is_single = subject.num_runs == 1 and (sequence is None or sequence.is_trajectory)
    space = Space(
        original.vectors,
        subject.layout,
        tests_copying=not is_single,
        scratch=subject.scratch,
    )
    aligned = None
    if subject.symmetries is not None:
        aligned = AlignedSpace(original.vectors, subject.symmetries, seed, subject.scratch)
    asked = _Asked(behaviour, progress, 2 * len(original.raw) + 20 * len(subject.generated))
    scored: dict[str, Scored] = {}
    kept: dict[str, Candidates] = {}
    used_again = KEPT if behaviour.recalibrated is None else (*KEPT, *RECALIBRATED)

    def add(group: Candidates) -> None:
        if not all(torch.isfinite(rows).all() for rows in row_blocks(group.raw)):
            raise NotFiniteError(
                f"group {group.name!r}: the parameters hold NaN or infinite values"
            )
        answers = asked.answers(group.raw, f"group {group.name!r}")
        release(group.raw)
        position = space.position(group.vectors, group.source)
        if aligned is not None and group.name in MEASURED:
            excluded = group.source if group.name == "original" else None
            position = replace(position, aligned=aligned.nearest(group.vectors, excluded))
        scored[group.name] = Scored(
            position=position,
            answers=answers,
            source=group.source,
            seeds=group.seeds,
            data_used=group.data_used,
        )
        if group.name in used_again:
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
        validation_accuracy=scored["original"].answers.validation.float().mean(1),
        symmetries=subject.symmetries,
        validate=lambda vectors: (
            asked.answers(normalisation.invert(vectors), "greedy soup").validation.float().mean(1)
        ),
    )
    failed: dict[str, str] = {}
    for baseline in free_baselines(material, kept["generated"].vectors):
        try:
            add(constructed(baseline, material, len(subject.generated), seed))
        except NotFiniteError:
            failed[baseline.name] = NOT_FINITE
    num_scores = scored["original"].answers.test.shape[1]
    return Examined(
        Measurements(scored, Bootstrap.over(num_scores, seed=seed)),
        kept,
        sequence,
        is_single,
        left_out(material, failed),
    )


class _Asked:
    """Asks for answers and tells the progress."""

    def __init__(self, behaviour: Behaviour, progress: Progress, expected: int) -> None:
        self._behaviour, self._progress = behaviour, progress
        self._done, self._expected = 0, expected

    def answers(self, raw: Tensor, whose: str) -> Answers:
        """What the networks ``[M, P]`` do; messages name whose they are."""
        try:
            found = self._behaviour.answers(raw)
        except UserError as error:
            raise type(error)(f"{whose}: {error}") from None
        self._done += len(raw)
        self._progress(self._done, max(self._done, self._expected))
        return found
