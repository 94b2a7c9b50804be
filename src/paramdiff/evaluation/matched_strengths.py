"""Baselines at matched novelty, diversity and dispersion.

Every method with a strength (noise, SWAG, Gaussians, ...) is searched for the strengths at which
its networks are as similar to the originals, as similar to each other and as dispersed as the
generated ones. The search looks at validation data only, and at networks of its own draw: the
networks that are scored on test data afterwards are others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.frontier import AXES, Axis, AxisName
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.metrics.diversity import relative_dispersion
from paramdiff.evaluation.metrics.similarity import maximum_similarity, pairwise_similarity
from paramdiff.evaluation.predictor import ValidationPredictions
from paramdiff.methods.data_use import NO_DATA
from paramdiff.methods.draws import Draws
from paramdiff.methods.group_names import FINISHED
from paramdiff.methods.method import Member, Method
from paramdiff.methods.method_context import MethodContext

Finish = Literal["batchnorm"] | None
"""The last step of a method, if it takes one."""
NUM_STRENGTHS = 5
"""Strengths of a method that are measured first, geometrically spaced over its range."""
NUM_PILOTS = 60
"""Networks of each; methods that can still decide are matched with as many as were generated."""
NUM_STEPS = 4
"""Refinements of a strength, at most."""
NUM_FINALISTS = 3
"""Methods that are matched with full counts, by their validation score at the matched strength."""


@dataclass(frozen=True)
class Validation:
    """Measures networks on validation data.

    Attributes:
        predict: raw vectors ``[M, P]`` to validation predictions.
        originals_wrong: ``[N, W]`` the originals' errors; None if nothing is right or wrong.
        variance: the originals' total variance, of normalized vectors.
        to_raw: normalized vectors ``[M, P]`` to raw ones.
    """

    predict: Callable[[Tensor], ValidationPredictions]
    originals_wrong: Tensor | None
    variance: float
    to_raw: Callable[[Tensor], Tensor]

    def standing(self, vectors: Tensor, raw: Tensor | None = None) -> Standing:
        """Measure networks.

        Args:
            vectors: ``[M, P]``, normalized.
            raw: ``[M, P]``, the same in raw values; by default they follow from ``vectors``.

        Returns:
            Their means.

        Raises:
            NotFiniteError: a vector is, or a network computes, NaN or infinity.
        """
        if not torch.isfinite(vectors).all():
            raise NotFiniteError("the parameters hold NaN or infinite values")
        found = self.predict(self.to_raw(vectors) if raw is None else raw)
        wrong, others = found.wrong, self.originals_wrong
        return Standing(
            n=len(vectors),
            score=float(found.values.double().mean()),
            max_similarity=None
            if wrong is None or others is None
            else float(maximum_similarity(wrong, others).mean()),
            pairwise_similarity=None if wrong is None else pairwise_similarity(wrong),
            dispersion=relative_dispersion(vectors, self.variance) if len(vectors) > 1 else None,
        )


@dataclass(frozen=True)
class Matched:
    """A member, the means of its pilot networks, and the axes on which it is matched.

    Attributes:
        member: a method at a strength.
        validation: None for a member that cannot decide, or whose networks compute no numbers.
        axes: on which it is as similar, or as dispersed, as the generated networks.
        finish: the last step of the method; None if it takes none.
    """

    member: Member
    validation: Standing | None
    axes: tuple[AxisName, ...] = ()
    finish: Finish = None

    @property
    def name(self) -> str:
        """The group's name in ``evaluation.json``: ``swag@1.3``, or ``swag@1.3+bn``."""
        return self.member.name + (FINISHED if self.finish else "")


@dataclass(frozen=True)
class Pilots:
    """Draws pilot networks of members and measures them on validation data.

    Attributes:
        context: what the networks are made from.
        validation: measures networks.
        target: the means of the generated networks.
        num_networks: as many as are generated.
        seed: of the draws.
        finish: the last step that ``validation`` takes before it measures networks.
        num_pilots: networks of each strength that is looked at.
    """

    context: MethodContext
    validation: Validation
    target: Standing
    num_networks: int
    seed: int
    finish: Finish = None
    num_pilots: int = NUM_PILOTS

    def of(self, member: Member, stream: str, count: int) -> Standing | None:
        """Measure ``count`` networks; None if they compute no numbers.

        One stream draws the same random numbers at every strength of a method, so that the means
        change smoothly with the strength.
        """
        draws = Draws(count, self.seed, stream, "pilots")
        try:
            made = member.sample(self.context, draws)
            return self.validation.standing(made.vectors, made.raw)
        except NotFiniteError:
            return None

    def fixed(self, members: Sequence[Member]) -> Iterator[Matched]:
        """Measure members without a matched strength, if they can decide."""
        count = min(self.num_networks, self.num_pilots)
        for member in members:
            decides = member.method.role == "baseline" and member.data_used == NO_DATA
            standing = self.of(member, member.name, count) if decides else None
            yield Matched(member, standing, finish=self.finish)

    def matched(self, methods: Sequence[Method]) -> list[Matched]:
        """Find the strengths at which methods are matched to the generated networks.

        Args:
            methods: those that can be made.

        Returns:
            The members of every method at its fixed strengths, and those that are matched.
        """
        searches = [_Search(method, self) for method in methods]
        found = [one for search in self._refined(searches) for one in search.found()]
        return [replace(one, finish=self.finish) for one in found]

    def _refined(self, searches: list["_Search"]) -> list["_Search"]:
        """Match the methods that can decide with as many networks as were generated."""
        if self.num_networks <= self.num_pilots:
            return searches
        for axis in AXES.values():
            best = sorted(searches, key=lambda search: search.score_on(axis), reverse=True)
            for search in best[:NUM_FINALISTS]:
                search.refine(axis, self.num_networks)
        return searches


class _Search:
    """The strengths of one method that have been measured, and the best on each axis."""

    def __init__(self, method: Method, pilots: Pilots) -> None:
        assert method.strengths.matched is not None
        self._method, self._pilots = method, pilots
        self._fixed = [float(one) for one in method.strengths.fixed if one is not None]
        self._count = min(pilots.num_networks, pilots.num_pilots)
        self._standings: dict[tuple[float, int], Standing | None] = {}
        spaced = np.geomspace(*method.strengths.matched, NUM_STRENGTHS).tolist()
        for strength in sorted({*spaced, *self._fixed}):
            self._look(strength, self._count)
        self._best = {axis.name: self._match(axis, self._count) for axis in AXES.values()}

    def score_on(self, axis: Axis) -> float:
        """Return the validation score at which the method is matched; -inf if it cannot be."""
        best = self._best[axis.name]
        standing = None if best is None else self._standings[best]
        return -np.inf if standing is None else standing.score

    def refine(self, axis: Axis, count: int) -> None:
        """Match once more about the strength that was found, with ``count`` networks."""
        best = self._best[axis.name]
        if best is None:
            return
        around = sorted({strength for strength, _ in self._standings})
        place = around.index(best[0])
        for strength in around[max(0, place - 1) : place + 2]:
            self._look(strength, count)
        self._best[axis.name] = self._match(axis, count) or best

    def found(self) -> list[Matched]:
        """Return the members at fixed strengths, and those that are matched, with their axes."""
        axes: dict[tuple[float, int], list[AxisName]] = {
            (strength, self._count): [] for strength in self._fixed
        }
        for name, best in self._best.items():
            if best is not None:
                axes.setdefault(best, []).append(name)
        members: dict[str, Matched] = {}
        for (strength, count), names in sorted(axes.items()):
            member, standing = self._method.at(strength), self._standings[strength, count]
            before = members[member.name].axes if member.name in members else ()
            members[member.name] = Matched(member, standing, (*before, *names))
        return list(members.values())

    def _look(self, strength: float, count: int) -> Standing | None:
        key = strength, count
        if key not in self._standings:
            member = self._method.at(strength)
            self._standings[key] = self._pilots.of(member, self._method.name, count)
        return self._standings[key]

    def _match(self, axis: Axis, count: int) -> tuple[float, int] | None:
        """Return the best of the strengths that compete, crossings of the target among them."""
        target = axis.of_standing(self._pilots.target)
        if target is None:
            return None
        looked = self._excesses(axis, target, count)
        for (low, before), (high, after) in pairwise(looked):
            if (before > 0) != (after > 0):
                self._approach(axis, target, count, (low, before), (high, after))
        competing = {
            (strength, count): standing.score
            for strength, excess in self._excesses(axis, target, count)
            if excess <= axis.tolerance / 2 and (standing := self._standings[strength, count])
        }
        return max(competing, key=competing.__getitem__, default=None)

    def _excesses(self, axis: Axis, target: float, count: int) -> list[tuple[float, float]]:
        """Return every strength looked at with how much more alike than the target it is."""
        found = []
        for (strength, number), standing in self._standings.items():
            place = None if standing is None else axis.of_standing(standing)
            if number == count and place is not None:
                found.append((strength, axis.excess(place, target)))
        return sorted(found)

    def _approach(
        self,
        axis: Axis,
        target: float,
        count: int,
        low: tuple[float, float],
        high: tuple[float, float],
    ) -> None:
        """Look at strengths between two on either side of the target until one is just there."""
        for _ in range(NUM_STEPS):
            share = low[1] / (low[1] - high[1])
            # by the secant, but never so near to an end that the interval hardly shrinks
            strength = low[0] * (high[0] / low[0]) ** float(np.clip(share, 0.1, 0.9))
            standing = self._look(strength, count)
            place = None if standing is None else axis.of_standing(standing)
            if place is None:
                return
            excess = axis.excess(place, target)
            if abs(excess) <= axis.tolerance / 2:
                return
            if (excess > 0) == (low[1] > 0):
                low = strength, excess
            else:
                high = strength, excess
