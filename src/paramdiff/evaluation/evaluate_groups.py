"""Make and evaluate every group; vectors that are needed again are kept, the others are not."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from paramdiff.evaluation.baselines import Baselines, left_out, method_context, validated_by
from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.group_evaluator import CountedPredictor, GroupEvaluator
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.matched_strengths import NUM_PILOTS, Matched
from paramdiff.evaluation.metrics.aligned_distance import AlignedSpace
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.evaluation.predictor import Predictor
from paramdiff.evaluation.race import NUM_RACED, Race, Starter
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.evaluation.sample_groups import SampleGroup, given_groups, product_context
from paramdiff.evaluation.trajectory import Trajectory, trajectory_of
from paramdiff.methods.method_context import MethodContext
from paramdiff.methods.registry import groups_in
from paramdiff.parameters.normalization import Normalization, fit_for_comparison
from paramdiff.progress import StageProgress

NETWORKS_SCORED = 45
"""For each generated network, about: baselines on validation and test data."""
STRENGTHS_PILOTED = 110
"""With a few networks each, on validation data alone, about: the search for matched strengths."""
STRENGTHS_REFINED = 25
"""With as many networks as were generated, about, if those are more than a few."""


@dataclass(frozen=True)
class EvaluatedGroups:
    """Every group, evaluated.

    Attributes:
        measured: predictions and places of every group.
        kept: vectors of the groups that are used again.
        starts: raw vectors ``[n, P]`` of evenly spaced networks of the groups to train further.
        normalization: of the vectors.
        trajectory: how the order of the originals shows in their distances.
        is_single_trajectory: whether all originals come from one run and lie along it.
        facts: the methods that were left out, and how others were made, for the report.
        matched: name to baseline.
        standing: of the generated networks on validation data; None if there are none.
        race: of all methods, if there are no generated networks.
    """

    measured: GroupMetrics
    kept: dict[str, SampleGroup]
    starts: dict[str, Tensor]
    normalization: Normalization
    trajectory: Trajectory | None
    is_single_trajectory: bool
    facts: dict[str, str]
    matched: dict[str, Matched]
    standing: Standing | None
    race: Race | None = None


def evaluate_groups(
    inputs: EvaluationInputs,
    predictor: Predictor,
    settings: EvaluationSettings,
    progress: StageProgress,
) -> EvaluatedGroups:
    """Make and evaluate every group.

    A baseline whose networks compute no numbers is left out; given groups must be evaluated.

    Args:
        inputs: originals, generated networks and where they come from.
        predictor: of the task.
        settings: seed and options.
        progress: called with the parameter sets evaluated, and about how many there are; and with
            the updates of trainings.

    Returns:
        The groups.

    Raises:
        UserError: parameters or predictions of given networks are not finite, or predictions have
            the wrong form.
    """
    seed = settings.seed
    normalization = fit_for_comparison(inputs.originals, inputs.layout)
    products = product_context(inputs, normalization)
    given = given_groups(inputs, normalization, products)
    original = next(given)
    trajectory = trajectory_of(original.vectors, seed, inputs.runs)
    is_single = inputs.num_runs == 1 and (trajectory is None or trajectory.is_found)
    references = ReferenceSet(
        original.vectors,
        inputs.layout if products is None else products.layout,
        tests_copying=not is_single,
        scratch=inputs.scratch,
    )
    aligned = None
    if inputs.symmetries is not None:
        aligned = AlignedSpace(original.vectors, inputs.symmetries, seed, inputs.scratch)
    groups = GroupEvaluator(
        references,
        aligned,
        CountedPredictor(
            predictor,
            partial(progress, "evaluating"),
            3 * len(original.raw) + _expected(inputs, settings),
        ),
        (
            *groups_in("ensembles"),
            *inputs.samples,
            *(groups_in("recalibration") if settings.recalibrate_batchnorm else ()),
        ),
        groups_in("fine-tuning curves") if settings.finetuning_curves else (),
    )
    groups.add(original)
    for group in given:
        groups.add(group)
    baselines, race = None, None
    if inputs.generated is None:
        context = method_context(inputs, normalization, predictor, groups, settings.seed, progress)
        race = _race(context, predictor, groups, settings, tuple(inputs.samples))
        matched = race.run()
    else:
        baselines = Baselines(inputs, normalization, predictor, groups, settings, progress)
        context, matched = baselines.context, baselines.add()
    groups.predictor.finish()
    num_scores = groups.scored["original"].predictions.test.shape[1]
    return EvaluatedGroups(
        GroupMetrics(
            groups.scored,
            Bootstrap.over(num_scores, seed=seed),
            runs=inputs.runs,
            held_out_runs=inputs.held_out_runs,
        ),
        groups.kept,
        groups.starts,
        normalization,
        trajectory,
        is_single,
        left_out(context, groups.failed) | groups.facts,
        matched,
        None if baselines is None else baselines.standing,
        race,
    )


def _race(
    context: MethodContext,
    predictor: Predictor,
    groups: GroupEvaluator,
    settings: EvaluationSettings,
    given: tuple[str, ...],
) -> Race:
    """Set up the race of all methods, with and without re-estimated BatchNorm statistics."""
    starters = [Starter(context, predictor)]
    again = predictor.reestimated
    if again is not None and settings.num_reestimated:
        starters.append(Starter(validated_by(context, again, groups), again, "batchnorm"))
    return Race(
        groups,
        starters,
        given=given,
        seed=settings.seed,
        num_networks=settings.num_compared,
        is_full=settings.is_full,
    )


def _expected(inputs: EvaluationInputs, settings: EvaluationSettings) -> int:
    """Estimate how many networks are predicted for beside the originals."""
    if inputs.generated is None:
        return 60 * NUM_RACED + 12 * settings.num_compared
    num = len(inputs.generated)
    return NETWORKS_SCORED * num + expected_pilots(num)


def expected_pilots(num_generated: int) -> int:
    """Estimate how many networks the search for matched strengths predicts for."""
    pilots = STRENGTHS_PILOTED * min(num_generated, NUM_PILOTS)
    return pilots + (STRENGTHS_REFINED * num_generated if num_generated > NUM_PILOTS else 0)
