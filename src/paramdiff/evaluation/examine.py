"""Score every group; what is needed again is kept, the other vectors are not."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.data_matched import RIVALS, Rivalry
from paramdiff.evaluation.ensembles import MEMBERS
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.groups import (
    Candidates,
    constructed,
    given_groups,
    left_out,
    planned,
)
from paramdiff.evaluation.groups import reestimated as reestimated_group
from paramdiff.evaluation.inputs import Subject
from paramdiff.evaluation.matched_strengths import NUM_PILOTS, Matched, Pilots, Validation
from paramdiff.evaluation.metrics.aligned_distance import MEASURED, AlignedSpace
from paramdiff.evaluation.metrics.base import GroupMeasurements, GroupMetrics
from paramdiff.evaluation.metrics.diversity import total_variance
from paramdiff.evaluation.predictor import Answers, Predictor, Validated
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.evaluation.trajectory import Trajectory, trajectory_of
from paramdiff.memmap import free_pages, row_blocks
from paramdiff.methods.method import Material
from paramdiff.parameters.normalization import Normalization, fit_for_comparison
from paramdiff.progress import Progress, StageProgress
from paramdiff.subsampling import evenly_spaced

KEPT = MEMBERS
"""Groups whose vectors are used after scoring."""
RECALIBRATED = ("average@16", "gaussian@1.0")
"""Those that are used besides where networks get new BatchNorm statistics."""
NETWORKS_SCORED = 45
"""For each generated network, about: baselines on validation and test data."""
STRENGTHS_PILOTED = 110
"""With a few networks each, on validation data alone, about: the search for matched strengths."""
STRENGTHS_REFINED = 25
"""With as many networks as were generated, about, where those are more than a few."""
NUM_REESTIMATED_PILOTS = 16
"""Networks of each strength that is looked at with re-estimated statistics, which cost a pass over
training inputs each."""
FINETUNED_GROUPS = ("original", "held_out", "generated", "average@all", "random")
"""Groups of which a few networks may be trained further."""
NUM_FINETUNED = 5
CHOSEN_ON_TEST = "its choice and its score would share data"
NOT_FINITE = "its networks compute NaN or infinite values"


@dataclass(frozen=True)
class Examined:
    """Every group, scored.

    Attributes:
        measured: scores and positions of every group.
        kept: vectors of the groups that are used after scoring.
        starts: raw vectors ``[n, P]`` of evenly spaced networks of the groups to train further.
        normalization: of the vectors.
        trajectory: how the order of the originals shows in their distances.
        is_single_trajectory: whether all originals come from one run and lie along it.
        facts: which alternatives are not there, and how others were made, for the report.
        matched: name to baseline.
        standing: of the generated networks on validation data.
    """

    measured: GroupMetrics
    kept: dict[str, Candidates]
    starts: dict[str, Tensor]
    normalization: Normalization
    trajectory: Trajectory | None
    is_single_trajectory: bool
    facts: dict[str, str]
    matched: dict[str, Matched]
    standing: Standing


def examine(
    subject: Subject,
    predictor: Predictor,
    settings: EvaluationSettings,
    progress: StageProgress,
) -> Examined:
    """Make and score every group.

    An alternative whose networks compute no numbers is left out; what is given must be scored.

    Args:
        subject: originals, generated networks and where they come from.
        predictor: answers for networks.
        settings: seed, and what is optional.
        progress: told how many parameter sets are scored, and about how many there are; and of
            trainings.

    Returns:
        The groups.

    Raises:
        UserError: parameters or answers of given networks are not finite, or answers have the
            wrong form.
    """
    seed = settings.seed
    normalization = fit_for_comparison(subject.originals, subject.layout)
    given = given_groups(subject, normalization)
    original = next(given)
    trajectory = trajectory_of(original.vectors, seed, subject.runs)
    is_single = subject.num_runs == 1 and (trajectory is None or trajectory.is_found)
    references = ReferenceSet(
        original.vectors,
        subject.layout,
        tests_copying=not is_single,
        scratch=subject.scratch,
    )
    aligned = None
    if subject.symmetries is not None:
        aligned = AlignedSpace(original.vectors, subject.symmetries, seed, subject.scratch)
    groups = _Groups(
        references,
        aligned,
        _Asked(
            predictor,
            partial(progress, "evaluating"),
            3 * len(original.raw)
            + NETWORKS_SCORED * len(subject.generated)
            + expected_pilots(len(subject.generated)),
        ),
        (*KEPT, *RECALIBRATED) if settings.recalibrate_batchnorm else KEPT,
        FINETUNED_GROUPS if settings.finetuning_curves else (),
    )
    groups.add(original)
    for group in given:
        groups.add(group)
    contest = _Contest(subject, normalization, predictor, groups, settings)
    matched = contest.add_baselines()
    facts = _add_rivals(subject, normalization, predictor, groups, seed, progress)
    groups.asked.finish()
    num_scores = groups.scored["original"].answers.test.shape[1]
    return Examined(
        GroupMetrics(
            groups.scored,
            Bootstrap.over(num_scores, seed=seed),
            runs=subject.runs,
            held_out_runs=subject.held_out_runs,
        ),
        groups.kept,
        groups.starts,
        normalization,
        trajectory,
        is_single,
        left_out(contest.material, groups.failed) | groups.facts | facts,
        matched,
        contest.standing,
    )


def expected_pilots(num_generated: int) -> int:
    """Estimate how many networks the search for matched strengths looks at."""
    pilots = STRENGTHS_PILOTED * min(num_generated, NUM_PILOTS)
    return pilots + (STRENGTHS_REFINED * num_generated if num_generated > NUM_PILOTS else 0)


class _Contest:
    """Makes the baselines of an evaluation, matched to the generated networks.

    Args:
        subject: as for ``examine``.
        normalization: of the space in which baselines are made.
        predictor: as for ``examine``.
        groups: scores what is made; holds the given groups.
        settings: as for ``examine``.
    """

    def __init__(
        self,
        subject: Subject,
        normalization: Normalization,
        predictor: Predictor,
        groups: "_Groups",
        settings: EvaluationSettings,
    ) -> None:
        self._groups, self._settings, self._predictor = groups, settings, predictor
        self._normalization = normalization
        originals = groups.kept["original"].vectors
        self._generated = groups.kept["generated"].vectors
        untrained = subject.untrained
        self.material = Material(
            originals=originals,
            raw=subject.originals,
            layout=subject.layout,
            normalization=normalization,
            untrained=None
            if untrained is None
            else lambda number: normalization.apply(untrained(number).float()),
            validation_score=groups.scored["original"].answers.validation.float().mean(1),
            symmetries=subject.symmetries,
            runs=subject.runs,
            validate=partial(self._scores, predictor),
        )
        self._validation = Validation(
            validated=partial(groups.asked.validated, predictor),
            originals_wrong=predictor.validated(groups.kept["original"].raw).wrong,
            variance=total_variance(originals),
            to_raw=normalization.invert,
        )
        self.standing = self._validation.standing(self._generated)

    def add_baselines(self) -> dict[str, Matched]:
        """Choose, make and score all of them; return them by name."""
        count = len(self._generated)
        pilots = Pilots(self.material, self._validation, self.standing, count, self._settings.seed)
        found = self._added(planned(self.material, pilots), count, self.material)
        reestimated = self._predictor.reestimated
        if reestimated is None or not self._settings.num_reestimated:
            return found
        material = replace(self.material, validate=partial(self._scores, reestimated))
        count = min(count, self._settings.num_reestimated)
        for name in ("original", "generated"):  # what the last step alone is worth
            make = partial(reestimated_group, self._groups.kept[name], count)
            self._groups.try_to_add(f"{name}+bn", make)
        pilots = Pilots(
            material,
            # the originals are what they are, whatever last step a baseline takes
            replace(
                self._validation, validated=partial(self._groups.asked.validated, reestimated)
            ),
            self.standing,
            count,
            self._settings.seed,
            "batchnorm",
            NUM_REESTIMATED_PILOTS,
        )
        return found | self._added(planned(material, pilots), count, material)

    def _added(self, members: list[Matched], count: int, material: Material) -> dict[str, Matched]:
        for one in members:
            if self._predictor.selects_on_test and one.baseline.data.split == "validation":
                self._groups.failed[one.name] = CHOSEN_ON_TEST
                continue
            make = partial(constructed, one, material, count, self._settings.seed)
            self._groups.try_to_add(one.name, make)
        return {one.name: one for one in members if one.name in self._groups.scored}

    def _scores(self, predictor: Predictor, vectors: Tensor) -> Tensor:
        """Validation scores ``[M]`` of normalized vectors ``[M, P]``."""
        raw = self._normalization.invert(vectors)
        return self._groups.asked.validated(predictor, raw).values.float().mean(1)


def _add_rivals(
    subject: Subject,
    normalization: Normalization,
    predictor: Predictor,
    groups: "_Groups",
    seed: int,
    progress: StageProgress,
) -> dict[str, str]:
    """Add what saw as much training data as the generator; how they were made, as a fact."""
    if subject.data_budget is None:
        return {}
    if predictor.training is None:
        groups.failed |= dict.fromkeys(RIVALS, "needs a classification task")
        return {}
    rivalry = Rivalry(
        originals=subject.originals,
        normalization=normalization,
        examples=predictor.training,
        budget=subject.data_budget,
        seed=seed,
        progress=progress,
    )
    for name in RIVALS:
        groups.try_to_add(name, partial(rivalry.make, name, len(subject.generated)))
    return rivalry.facts()


@dataclass
class _Groups:
    """Scores group after group.

    Attributes:
        references: the originals, beside which groups are measured.
        aligned: where they lie whatever the order of units, if that is known.
        asked: what networks do.
        used_again: names of the groups whose vectors are kept.
        started: names of those of which a few networks are kept.
        scored: every group so far.
        kept: of ``used_again``.
        starts: of ``started``.
        failed: groups that were left out, with the reason.
        facts: what was chosen while groups were made, for the report.
    """

    references: ReferenceSet
    aligned: AlignedSpace | None
    asked: "_Asked"
    used_again: tuple[str, ...]
    started: tuple[str, ...]
    scored: dict[str, GroupMeasurements] = field(default_factory=dict)
    kept: dict[str, Candidates] = field(default_factory=dict)
    starts: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, group: Candidates) -> None:
        """Score a group."""
        if not all(torch.isfinite(rows).all() for rows in row_blocks(group.raw)):
            raise NotFiniteError(
                f"group {group.name!r}: the parameters hold NaN or infinite values"
            )
        answers = self.asked.answers(group)
        free_pages(group.raw)
        parameters = self.references.measure(group.vectors, group.source)
        if self.aligned is not None and group.name in MEASURED:
            excluded = group.source if group.name == "original" else None
            nearest = self.aligned.nearest(group.vectors, excluded)
            parameters = replace(parameters, aligned=nearest)
        self.scored[group.name] = GroupMeasurements(
            parameters=parameters,
            answers=answers,
            source=group.source,
            seeds=group.seeds,
            data=group.data,
        )
        self.facts |= group.facts
        if group.name in self.used_again:
            self.kept[group.name] = group
        if group.name in self.started:
            self.starts[group.name] = group.raw[evenly_spaced(len(group.raw), NUM_FINETUNED)]

    def try_to_add(self, name: str, make: Callable[[], Candidates]) -> None:
        """Make and score an alternative, or note that it computes no numbers."""
        try:
            self.add(make())
        except NotFiniteError:
            self.failed[name] = NOT_FINITE


class _Asked:
    """Asks for answers and tells the progress."""

    def __init__(self, predictor: Predictor, progress: Progress, expected: int) -> None:
        self._predictor, self._progress = predictor, progress
        self._done, self._expected = 0, expected

    def answers(self, group: Candidates) -> Answers:
        """Ask a group's networks, after the last step of their method; messages name the group."""
        predictor = self._predictor
        if group.finish == "batchnorm":
            assert predictor.reestimated is not None
            predictor = predictor.reestimated
        try:
            found = predictor.answers(group.raw)
        except UserError as error:
            raise type(error)(f"group {group.name!r}: {error}") from None
        self._count(len(group.raw))
        return found

    def validated(self, predictor: Predictor, raw: Tensor) -> Validated:
        """Ask raw vectors ``[M, P]`` on validation data alone."""
        found = predictor.validated(raw)
        self._count(len(raw))
        return found

    def finish(self) -> None:
        """Tell that nothing more will be asked."""
        self._progress(self._done, self._done)

    def _count(self, num: int) -> None:
        self._done += num
        self._progress(self._done, max(self._done, self._expected))
