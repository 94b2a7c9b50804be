"""Score every group; what is needed again is kept, the other vectors are not."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

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
from paramdiff.evaluation.rivals import ORIGINALS, RIVALS, Rivalry
from paramdiff.evaluation.schema import Trajectory
from paramdiff.evaluation.subject import Subject
from paramdiff.evaluation.trajectory import trajectory_of
from paramdiff.mapped import release, row_blocks
from paramdiff.parameters.normalisation import Normalisation, fit_for_comparison
from paramdiff.progress import Progress, Report
from paramdiff.subsampling import evenly_spaced

KEPT = ("original", "generated", "average@all", "swag@1.0", ORIGINALS)
"""Groups whose vectors are used after scoring."""
RECALIBRATED = ("average@16", "gaussian@1.0")
"""Those that are used besides where networks get new BatchNorm statistics."""
STARTED = ("original", "held_out", "generated", "average@all", "random")
"""Groups of which a few networks may be trained further."""
NUM_STARTED = 5
NOT_FINITE = "its networks compute NaN or infinite values"


@dataclass(frozen=True)
class Examined:
    """Every group, scored.

    Attributes:
        measured: scores and positions of every group.
        kept: vectors of the groups that are used after scoring.
        starts: raw vectors ``[n, P]`` of evenly spaced networks of the groups to train further.
        normalisation: of the vectors.
        trajectory: how the order of the originals shows in their distances.
        is_single_trajectory: whether all originals come from one run and lie along it.
        facts: which alternatives are not there, and how others were made, for the report.
    """

    measured: Measurements
    kept: dict[str, Candidates]
    starts: dict[str, Tensor]
    normalisation: Normalisation
    trajectory: Trajectory | None
    is_single_trajectory: bool
    facts: dict[str, str]


def examine(
    subject: Subject,
    behaviour: Behaviour,
    seed: int,
    report: Report,
    started: tuple[str, ...] = (),
) -> Examined:
    """Make and score every group.

    An alternative whose networks compute no numbers is left out; what is given must be scored.

    Args:
        subject: originals, generated networks and where they come from.
        behaviour: answers for networks.
        seed: of the baselines' and the bootstrap's draws.
        report: told how many parameter sets are scored, and about how many there are; and of
            trainings.
        started: groups of which a few networks are kept, to be trained further.

    Returns:
        The groups.

    Raises:
        UserError: parameters or answers of given networks are not finite, or answers have the
            wrong form.
    """
    normalisation = fit_for_comparison(subject.originals, subject.layout)
    given = given_groups(subject, normalisation)
    original = next(given)
    trajectory = trajectory_of(original.vectors, seed, subject.runs)
    is_single = subject.num_runs == 1 and (trajectory is None or trajectory.is_found)
    space = Space(
        original.vectors,
        subject.layout,
        tests_copying=not is_single,
        scratch=subject.scratch,
    )
    aligned = None
    if subject.symmetries is not None:
        aligned = AlignedSpace(original.vectors, subject.symmetries, seed, subject.scratch)
    groups = _Groups(
        space,
        aligned,
        _Asked(
            behaviour,
            partial(report, "evaluating"),
            2 * len(original.raw) + 20 * len(subject.generated),
        ),
        KEPT if behaviour.recalibrated is None else (*KEPT, *RECALIBRATED),
        started,
    )
    groups.add(original)
    for group in given:
        groups.add(group)
    material = _material(subject, normalisation, groups)
    num = len(subject.generated)
    for baseline in free_baselines(material, groups.kept["generated"].vectors):
        groups.try_to_add(baseline.name, partial(constructed, baseline, material, num, seed))
    facts = _add_rivals(subject, normalisation, behaviour, groups, seed, report)
    num_scores = groups.scored["original"].answers.test.shape[1]
    return Examined(
        Measurements(groups.scored, Bootstrap.over(num_scores, seed=seed)),
        groups.kept,
        groups.starts,
        normalisation,
        trajectory,
        is_single,
        left_out(material, groups.failed) | facts,
    )


def _material(subject: Subject, normalisation: Normalisation, groups: "_Groups") -> Material:
    original, untrained = groups.kept["original"].vectors, subject.untrained
    latents, decode = latents_of(subject, original, normalisation)
    return Material(
        originals=original,
        layout=subject.layout,
        normalisation=normalisation,
        latents=latents,
        decode=decode,
        untrained=None
        if untrained is None
        else lambda number: normalisation.apply(untrained(number).float()),
        validation_accuracy=groups.scored["original"].answers.validation.float().mean(1),
        symmetries=subject.symmetries,
        runs=subject.runs,
        validate=lambda vectors: (
            groups.asked.answers(normalisation.invert(vectors), "greedy soup")
            .validation.float()
            .mean(1)
        ),
    )


def _add_rivals(
    subject: Subject,
    normalisation: Normalisation,
    behaviour: Behaviour,
    groups: "_Groups",
    seed: int,
    report: Report,
) -> dict[str, str]:
    """Add what saw as much training data as the generator; how they were made, as a fact."""
    if subject.data_budget is None:
        return {}
    if behaviour.training is None:
        groups.failed |= dict.fromkeys(RIVALS, "needs a classification task")
        return {}
    rivalry = Rivalry(
        originals=subject.originals,
        normalisation=normalisation,
        examples=behaviour.training,
        budget=subject.data_budget,
        seed=seed,
        report=report,
    )
    for name in RIVALS:
        groups.try_to_add(name, partial(rivalry.make, name, len(subject.generated)))
    return rivalry.facts()


@dataclass
class _Groups:
    """Scores group after group.

    Attributes:
        space: where groups lie.
        aligned: where they lie whatever the order of units, if that is known.
        asked: what networks do.
        used_again: names of the groups whose vectors are kept.
        started: names of those of which a few networks are kept.
        scored: every group so far.
        kept: of ``used_again``.
        starts: of ``started``.
        failed: groups that were left out, with the reason.
    """

    space: Space
    aligned: AlignedSpace | None
    asked: "_Asked"
    used_again: tuple[str, ...]
    started: tuple[str, ...]
    scored: dict[str, Scored] = field(default_factory=dict)
    kept: dict[str, Candidates] = field(default_factory=dict)
    starts: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, group: Candidates) -> None:
        """Score a group."""
        if not all(torch.isfinite(rows).all() for rows in row_blocks(group.raw)):
            raise NotFiniteError(
                f"group {group.name!r}: the parameters hold NaN or infinite values"
            )
        answers = self.asked.answers(group.raw, f"group {group.name!r}")
        release(group.raw)
        position = self.space.position(group.vectors, group.source)
        if self.aligned is not None and group.name in MEASURED:
            excluded = group.source if group.name == "original" else None
            position = replace(position, aligned=self.aligned.nearest(group.vectors, excluded))
        self.scored[group.name] = Scored(
            position=position,
            answers=answers,
            source=group.source,
            seeds=group.seeds,
            data=group.data,
        )
        if group.name in self.used_again:
            self.kept[group.name] = group
        if group.name in self.started:
            self.starts[group.name] = group.raw[evenly_spaced(len(group.raw), NUM_STARTED)]

    def try_to_add(self, name: str, make: Callable[[], Candidates]) -> None:
        """Make and score an alternative, or note that it computes no numbers."""
        try:
            self.add(make())
        except NotFiniteError:
            self.failed[name] = NOT_FINITE


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
