"""Baselines and controls of an evaluation: which there are, and their networks.

Their order is that of the registry: methods without a matched strength first, then those that are
matched. It decides the streams of the bootstrap.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.group_evaluator import GroupEvaluator
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.matched_strengths import Matched, Pilots, Validation
from paramdiff.evaluation.metrics.diversity import total_variance
from paramdiff.evaluation.predictor import Predictor
from paramdiff.evaluation.sample_groups import REESTIMATED, SampleGroup, reestimated
from paramdiff.memmap import map_rows
from paramdiff.methods.data_matched_training import DataMatchedTraining
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Member, Method, Role
from paramdiff.methods.method_context import MethodContext
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.adapters import AdapterProducts
from paramdiff.parameters.normalization import Normalization
from paramdiff.progress import StageProgress

NUM_REESTIMATED_PILOTS = 16
"""Networks of each strength that is looked at with re-estimated statistics, which cost a pass over
training inputs each."""
CHOSEN_ON_TEST = "its choice and its score would share data"


class Baselines:
    """Makes the baselines of an evaluation, matched to the generated networks.

    Args:
        inputs: as for ``evaluate``.
        normalization: of the space in which baselines are made.
        predictor: as for ``evaluate``.
        groups: evaluates the networks; holds the given groups.
        settings: as for ``evaluate``.
        progress: as for ``evaluate``.

    Attributes:
        context: what they are made from.
        standing: of the generated networks on validation data.
    """

    def __init__(
        self,
        inputs: EvaluationInputs,
        normalization: Normalization,
        predictor: Predictor,
        groups: GroupEvaluator,
        settings: EvaluationSettings,
        progress: StageProgress,
    ) -> None:
        self._groups, self._settings, self._predictor = groups, settings, predictor
        self._generated = groups.kept["generated"].vectors
        self.context = method_context(
            inputs, normalization, predictor, groups, settings.seed, progress
        )
        originals = groups.kept["original"].vectors
        self._validation = Validation(
            predict=partial(groups.predictor.predict_validation, predictor),
            originals_wrong=predictor.predict_validation(groups.kept["original"].raw).wrong,
            variance=total_variance(originals),
            to_raw=normalization.invert,
        )
        self.standing = self._validation.standing(self._generated)

    def add(self) -> dict[str, Matched]:
        """Choose, make and evaluate all of them; return those with a place by name."""
        found = self._add_with_originals_alone()
        for member in _members("data-matched baseline"):
            if member.method.applies(self.context) and member.missing(self.context) is None:
                make = partial(made, Matched(member, None), self.context, *self._count_and_seed())
                self._groups.try_to_add(member.name, make)
        return found

    def _add_with_originals_alone(self) -> dict[str, Matched]:
        count, seed = self._count_and_seed()
        pilots = Pilots(self.context, self._validation, self.standing, count, seed)
        found = self._added(planned(self.context, pilots), count, self.context)
        predictor = self._predictor.reestimated
        if predictor is None or not self._settings.num_reestimated:
            return found
        context = validated_by(self.context, predictor, self._groups)
        count = min(count, self._settings.num_reestimated)
        for name in ("original", "generated"):  # the value of the last step alone
            make = partial(reestimated, self._groups.kept[name], count)
            self._groups.try_to_add(f"{name}+bn", make)
        pilots = Pilots(
            context,
            # the originals stay as they are, whatever last step a baseline takes
            replace(
                self._validation,
                predict=partial(self._groups.predictor.predict_validation, predictor),
            ),
            self.standing,
            count,
            seed,
            "batchnorm",
            NUM_REESTIMATED_PILOTS,
        )
        return found | self._added(planned(context, pilots), count, context)

    def _added(
        self, members: list[Matched], count: int, context: MethodContext
    ) -> dict[str, Matched]:
        for one in members:
            on_validation = one.member.data_used.split == "validation"
            if self._predictor.selects_on_test and on_validation:
                self._groups.failed[one.name] = CHOSEN_ON_TEST
                continue
            make = partial(made, one, context, count, self._settings.seed)
            self._groups.try_to_add(one.name, make)
        return {one.name: one for one in members if one.name in self._groups.scored}

    def _count_and_seed(self) -> tuple[int, int]:
        return len(self._generated), self._settings.seed


def method_context(
    inputs: EvaluationInputs,
    normalization: Normalization,
    predictor: Predictor,
    groups: GroupEvaluator,
    seed: int,
    progress: StageProgress,
) -> MethodContext:
    """Collect what methods make networks from.

    Args:
        inputs: as for ``evaluate``.
        normalization: of the space in which networks are made.
        predictor: as for ``evaluate``.
        groups: predicts; holds the originals.
        seed: of trainings.
        progress: as for ``evaluate``.

    Returns:
        The context.
    """
    untrained, adapters = inputs.untrained, AdapterProducts.find(inputs.layout)
    context = MethodContext(
        originals=groups.kept["original"].vectors
        if adapters is None
        else normalization.apply(inputs.originals.float()),
        raw=inputs.originals,
        layout=inputs.layout,
        normalization=normalization,
        untrained=None
        if untrained is None
        else lambda number: normalization.apply(untrained(number).float()),
        validation_score=groups.scored["original"].predictions.validation.float().mean(1),
        symmetries=inputs.symmetries,
        runs=inputs.runs,
        steps=inputs.steps,
        base=inputs.base,
        adapters=adapters,
        validate=None,
        data_budget=inputs.data_budget,
        data_matched=_training(inputs, normalization, predictor, seed, progress),
    )
    return validated_by(context, predictor, groups)


def validated_by(
    context: MethodContext, predictor: Predictor, groups: GroupEvaluator
) -> MethodContext:
    """Return the context in which a predictor validates networks, and ``groups`` counts them."""

    def scores(vectors: Tensor) -> Tensor:
        raw = context.normalization.invert(vectors)
        return groups.predictor.predict_validation(predictor, raw).values.float().mean(1)

    return replace(context, validate=scores)


def _training(
    inputs: EvaluationInputs,
    normalization: Normalization,
    predictor: Predictor,
    seed: int,
    progress: StageProgress,
) -> DataMatchedTraining | None:
    """Set fine-tuning up; None if the generator used no data, or there is no training split."""
    if inputs.data_budget is None or predictor.training is None:
        return None
    return DataMatchedTraining(
        originals=inputs.originals,
        normalization=normalization,
        examples=predictor.training,
        budget=inputs.data_budget,
        seed=seed,
        progress=progress,
    )


def planned(context: MethodContext, pilots: Pilots) -> list[Matched]:
    """Choose the baselines and controls that need the originals alone.

    All members without a matched strength that can be made; and those of methods that are matched
    at their fixed strengths, and at those that match the generated networks. With a last step,
    those whose method has one.

    Args:
        context: what they are made from.
        pilots: measures them on validation data.

    Returns:
        The members; ``made`` makes the networks of one.
    """
    members = [one for one in unmatched_members() if one.method.applies(context)]
    members = [one for one in members if one.missing(context) is None]
    methods = [one for one in matched_methods() if one.missing(context) is None]
    if pilots.finish:
        members = [one for one in members if one.method.finish]
        methods = [one for one in methods if one.finish]
    found = {one.name: one for one in pilots.fixed(members)}
    return list((found | {one.name: one for one in pilots.matched(methods)}).values())


def unmatched_members() -> list[Member]:
    """Return all members without a matched strength, in the order of evaluation."""
    return _members("baseline") + _members("control")


def matched_methods() -> list[Method]:
    """Return all methods that are matched, in the order of evaluation."""
    return [one for one in METHODS.values() if one.strengths.matched is not None]


def _members(role: Role) -> list[Member]:
    """Return the members with a role whose strength is not matched."""
    return [
        member
        for method in METHODS.values()
        if method.role == role
        for member in method.members
        if member.strength is None or member.is_chosen or method.strengths.matched is None
    ]


def made(matched: Matched, context: MethodContext, num: int, seed: int) -> SampleGroup:
    """Make the networks of a member that are evaluated on test data.

    Args:
        matched: which member, and the axes on which it is matched.
        context: what it is made from.
        num: how many networks, as many as were generated.
        seed: of the draws.

    Returns:
        The group.
    """
    member = matched.member
    if member.method.counts_each_run:  # one network for each, whatever was asked for
        num = max(num, len(context.trajectories))
    samples = member.sample(context, Draws(num, seed, member.name))
    raw = samples.raw
    if raw is None:
        size = samples.vectors.shape[1]
        raw = map_rows(samples.vectors, context.normalization.invert, size, None)
    if not member.method.is_control:
        for slot in context.shared:  # to the bit; disturbing them would be no method's idea
            place = slice(slot.start, slot.stop)
            raw[:, place] = context.raw[0, place]
            if context.adapters is None:
                samples.vectors[:, place] = context.originals[0, place]
    used = samples.data_used or member.data_used
    uses_inputs = matched.finish is not None and used.kind == "none"
    return SampleGroup(
        matched.name,
        raw,
        samples.vectors,
        samples.source,
        data_used=REESTIMATED if uses_inputs else used,
        finish=matched.finish,
        facts=samples.facts,
    )


def left_out(context: MethodContext, failed: Mapping[str, str]) -> dict[str, str]:
    """Name the methods that are not there, as a fact for the report.

    Args:
        context: what they would be made from.
        failed: those that were made and cannot be evaluated, name to reason.

    Returns:
        One fact, or none.
    """
    members = [one for one in unmatched_members() if one.method.applies(context)]
    found = {one: one.missing(context) for one in members}
    reasons: dict[str, str | None] = {}
    for one, reason in found.items():
        others = {why for other, why in found.items() if other.method is one.method}
        reasons[one.method.name if others == {reason} else one.name] = reason
    reasons |= {one.name: one.missing(context) for one in matched_methods()}
    reasons = {name: reason for name, reason in reasons.items() if reason is not None}
    reasons |= failed
    for member in _members("data-matched baseline"):
        if member.method.applies(context) and member.name not in failed:
            reasons[member.name] = member.missing(context)
    names = [f"{name} ({reason})" for name, reason in reasons.items() if reason is not None]
    return {"Left out": ", ".join(names)} if names else {}
