"""A race of all methods: few networks of each on validation data, many of those in front.

Who has no generated networks asks which method is worth making at all. Every method at its fixed
strengths makes a few networks, which validation data judge; those that are in front for one of
three uses (see ``ranking``) make more, up to the full number. All are scored on test data with
what they have made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.baselines import CHOSEN_ON_TEST, made
from paramdiff.evaluation.calibration import (
    best_temperature,
    negative_log_likelihood,
    tempered,
)
from paramdiff.evaluation.group_evaluator import GroupEvaluator
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.matched_strengths import Finish, Matched, Validation
from paramdiff.evaluation.metrics.diversity import total_variance
from paramdiff.evaluation.predictor import Predictor, ValidationPredictions
from paramdiff.evaluation.sample_groups import SampleGroup, reestimated
from paramdiff.methods.group_names import method_of
from paramdiff.methods.method import Member
from paramdiff.methods.method_context import MethodContext
from paramdiff.methods.registry import METHODS
from paramdiff.subsampling import evenly_spaced

NUM_RACED = 10
"""Networks of every method on validation data; as many as an ensemble has."""
NUM_FINALISTS = 4
"""Methods in front for each use."""


@dataclass(frozen=True)
class Runner:
    """A method at a strength in the race.

    Attributes:
        matched: the method, and the means of its networks on validation data.
        num_made: networks that it made; a method with a single result makes that.
        ensemble: negative log-likelihood on validation data of its networks together, at the
            temperature chosen there; None without class probabilities.
    """

    matched: Matched
    num_made: int
    ensemble: float | None

    @property
    def name(self) -> str:
        """The name of its group."""
        return self.matched.name

    @property
    def standing(self) -> Standing:
        """The means of its networks on validation data."""
        assert self.matched.validation is not None
        return self.matched.validation


@dataclass(frozen=True)
class Starter:
    """The context and the predictor of methods with one kind of last step.

    Attributes:
        context: what networks are made from.
        predictor: predicts for them, after the last step.
        finish: the last step.
    """

    context: MethodContext
    predictor: Predictor
    finish: Finish = None


class Race:
    """Races methods, and evaluates all of them as far as they came.

    Args:
        groups: evaluates networks.
        starters: without a last step, and with it if the network has one.
        given: names of groups of other origin that take part; they are evaluated already.
        seed: of all draws.
        num_networks: of a finalist.
        is_full: whether every method is a finalist.
    """

    def __init__(
        self,
        groups: GroupEvaluator,
        starters: Sequence[Starter],
        *,
        given: Sequence[str],
        seed: int,
        num_networks: int,
        is_full: bool = False,
    ) -> None:
        self._groups, self._starters, self._given = groups, starters, given
        self._seed, self._num_networks, self._is_full = seed, num_networks, is_full
        self._variance = total_variance(groups.kept["original"].vectors)
        self._originals_wrong: Tensor | None = None
        self.originals = self._measured(groups.kept["original"], starters[0])
        self.runners: dict[str, Runner] = {}
        self.finalists: tuple[str, ...] = ()

    def run(self) -> dict[str, Matched]:
        """Race every method that can be made; return those that were evaluated, by name."""
        for name in self._given:
            group = self._groups.kept[name]
            own = Matched(Member(method_of(name)), None)
            self.runners[name] = self._measured(group, self._starters[0], own)
        for starter in self._starters[1:]:
            self._start_originals(starter)
        for starter in self._starters:
            for member in members(starter.context, starter.finish):
                self._start(member, starter)
        self.finalists = self._choose()
        self._groups.used_again = (*self._groups.used_again, *self.finalists)
        starters = {one.finish: one for one in self._starters}
        for runner in self.runners.values():
            if runner.name in self._groups.scored:  # given, or the originals
                continue
            count = self._num_networks if runner.name in self.finalists else NUM_RACED
            context = starters[runner.matched.finish].context
            make = partial(made, runner.matched, context, count, self._seed)
            self._groups.try_to_add(runner.name, make)
        scored = self._groups.scored
        return {one.name: one.matched for one in self.runners.values() if one.name in scored}

    def _start_originals(self, starter: Starter) -> None:
        """Let the originals take part after a last step: its value alone is no method's."""
        group = reestimated(self._groups.kept["original"], self._num_networks)
        self._groups.used_again = (*self._groups.used_again, group.name)
        self._groups.try_to_add(group.name, lambda: group)
        if group.name in self._groups.scored:
            own = Matched(_ORIGINALS.member, None, finish=starter.finish)
            self.runners[group.name] = self._measured(group, starter, own)

    def _start(self, member: Member, starter: Starter) -> None:
        """Let a method make a few networks; one whose networks compute no numbers drops out."""
        matched = Matched(member, None, finish=starter.finish)
        if starter.predictor.selects_on_test and member.data_used.split == "validation":
            self._groups.failed[matched.name] = CHOSEN_ON_TEST
            return
        try:
            group = made(matched, starter.context, NUM_RACED, self._seed)
            self.runners[matched.name] = self._measured(group, starter, matched)
        except NotFiniteError as error:
            self._groups.failed[matched.name] = str(error)

    def _measured(
        self, group: SampleGroup, starter: Starter, matched: Matched | None = None
    ) -> Runner:
        found, together = self._predicted(starter.predictor, group.raw)
        if matched is None:
            self._originals_wrong = found.wrong
        standing = Validation(
            lambda raw: found,
            self._originals_wrong,
            self._variance,
            starter.context.normalization.invert,
        ).standing(group.vectors, group.raw)
        own = Matched((matched or _ORIGINALS).member, standing, finish=starter.finish)
        return Runner(own, len(group.raw), together)

    def _predicted(
        self, predictor: Predictor, raw: Tensor
    ) -> tuple[ValidationPredictions, float | None]:
        """Predict on validation data; where there are probabilities, judge the ensemble, too."""
        probabilities, truth = predictor.validation_probabilities, predictor.validation_truth
        if probabilities is None or truth is None or not len(truth):
            return self._groups.predictor.predict_validation(predictor, raw), None
        rows = set(evenly_spaced(len(raw), NUM_RACED).tolist())
        total, is_right = torch.zeros(1), []
        for row, one in enumerate(probabilities(raw)):
            each = one.to("cpu", torch.float32)
            is_right.append(each.argmax(1) == truth)
            total = total + each if row in rows else total
        self._groups.predictor.count(len(raw))
        mean = total / len(rows)
        if not torch.isfinite(mean).all():
            raise NotFiniteError("its networks compute NaN or infinite values")
        warmed = tempered(mean, best_temperature(mean, truth))
        right = torch.stack(is_right)
        together = float(negative_log_likelihood(warmed, truth).mean())
        return ValidationPredictions(right, ~right), together

    def _choose(self) -> tuple[str, ...]:
        """Name the methods that are in front for one of the uses, in the order of the race."""
        several = [one for one in self.runners.values() if one.num_made > 1]
        if self._is_full:
            return tuple(one.name for one in several)
        learned = [one for one in several if not one.matched.member.method.is_control]
        level = self.originals.standing.score - self.tolerance
        good = [one for one in learned if one.standing.score >= level]
        front = [
            *sorted(good, key=varied)[:NUM_FINALISTS],
            *sorted(learned, key=lambda one: -one.standing.score)[:NUM_FINALISTS],
            *sorted(
                (one for one in learned if one.ensemble is not None),
                key=lambda one: one.ensemble or 0.0,
            )[:NUM_FINALISTS],
        ]
        names = {one.name for one in front} | {
            one.name
            for one in several
            if one.name in self._given or one.matched.member == _ORIGINALS.member
        }
        return tuple(name for name in self.runners if name in names)

    @property
    def tolerance(self) -> float:
        """The distance below the originals' mean validation score that still counts as theirs.

        One standard error of a mean over as many originals as there are raced networks.
        """
        scores = self._groups.scored["original"].predictions.validation.double().mean(1)
        spread = float(scores.std()) if len(scores) > 1 else 0.0
        return spread / NUM_RACED**0.5


_ORIGINALS = Matched(Member(METHODS["original"]), None)


def varied(runner: Runner) -> float:
    """Return a sort key by which the most varied networks come first."""
    standing = runner.standing
    if standing.pairwise_similarity is not None:
        return standing.pairwise_similarity
    return -(standing.dispersion or 0.0)


def members(context: MethodContext, finish: Finish) -> list[Member]:
    """List the methods at their fixed strengths that can be made, in the order of evaluation.

    Args:
        context: what they are made from.
        finish: their last step; with one, only methods that have it.

    Returns:
        The members.
    """
    roles = ("baseline", "control")
    every = [
        member
        for method in METHODS.values()
        if method.role in roles and method.applies(context)
        for member in method.members
    ]
    return [
        one
        for one in every
        if one.missing(context) is None and (finish is None or one.method.finish == finish)
    ]
