"""A method: one way from a zoo to new parameter vectors, and all that a reader must know of it.

A *member* is a method at a strength: ``swag@1.0`` is SWAG with its standard deviations times 1.
For one seed the members of a method that is matched differ in their strength alone: each draws the
same normal numbers and scales them, so that the measurements of its networks change smoothly with
the strength.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from paramdiff.errors import NotFiniteError
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.methods.draws import Draws
from paramdiff.methods.method_context import MethodContext, Samples, Sampling

GRAY = "#6b7480"
VALIDATION = "validation"
"""The strength of a member whose strength is chosen by validation score."""
NUM_CHOOSING = 8
"""Networks of each strength that is tried for that."""

Strength = float | str
Role = Literal["evaluated", "baseline", "data-matched baseline", "control"]
Need = Literal[
    "network",
    "order",
    "trajectories",
    "base",
    "symmetries",
    "validation labels",
    "training examples",
]


Part = Literal["ensembles", "fine-tuning curves", "recalibration", "aligned distance"]
"""A part of an evaluation in which a few groups alone are looked at."""


@dataclass(frozen=True)
class Style:
    """The marks of a method in figures and tables.

    Colors follow those of Okabe and Ito (2008), which stay apart for color-blind readers; markers
    tell methods apart in print.

    Attributes:
        color: hexadecimal.
        marker: one of matplotlib's.
    """

    color: str = GRAY
    marker: str = "o"


@dataclass(frozen=True)
class Strengths:
    """The strengths at which a method is evaluated.

    Attributes:
        fixed: those of every evaluation; None is the method without a strength.
        matched: the smallest and the largest strength of the search for those at which its
            networks are as similar or as dispersed as the generated ones; None if there is none.
        bounds: the least and the greatest strength that has a meaning; None if any number has.
        chosen: those from which the member ``@validation`` chooses by validation score; it does
            not exist if there are none.
    """

    fixed: tuple[Strength | None, ...] = (None,)
    matched: tuple[float, float] | None = None
    chosen: tuple[Strength, ...] = ()
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Method:
    """A registry entry; see ``paramdiff.methods.registry``.

    Attributes:
        name: as in ``evaluation.json``, before the ``@``.
        label: in tables, legends and figures.
        phrase: in a sentence, of a member without a numeric strength.
        reference: the paper and its equation or recipe; empty if there is none.
        style: its marks.
        sample: makes networks; None for networks that an evaluation is given.
        role: *evaluated* networks are the subject of a report; a *baseline* needs the originals
            alone; a *data-matched baseline* was trained on as much data as the generator; a
            *control* has learned nothing, or nothing new.
        strengths: at which it is evaluated.
        label_at: the label of a member, ``{}`` being the strength.
        phrase_at: the phrase of a member with a numeric strength, likewise.
        short_phrase: in a headline, at any strength; None for the full phrase.
        needs: without one of these the method is left out.
        min_originals: with fewer originals a member is left out; None if its strength is the
            number of originals that it needs.
        counts_each_run: whether every run must have so many.
        works_on_products: whether it sees the products of low-rank factors in their place.
        parts: the strengths at which it takes part in what only a few groups do.
        data_used: the task data that it looks at beside the parameters.
        finish: its own last step, which re-estimates BatchNorm statistics; None for controls.
    """

    name: str
    label: str
    phrase: str
    reference: str = ""
    style: Style = Style()
    sample: Sampling | None = None
    role: Role = "baseline"
    strengths: Strengths = Strengths()
    label_at: str | None = None
    phrase_at: str | None = None
    short_phrase: str | None = None
    needs: frozenset[Need] = frozenset()
    min_originals: int | None = 1
    counts_each_run: bool = False
    works_on_products: bool = True
    parts: Mapping[Part, tuple[Strength | None, ...]] = field(default_factory=dict, hash=False)
    data_used: DataUse = NO_DATA
    finish: Literal["batchnorm"] | None = None

    @property
    def is_control(self) -> bool:
        """Return whether its networks have learned nothing, or nothing new."""
        return self.role == "control"

    def at(self, strength: Strength | None) -> "Member":
        """Return the member at a strength, which is rounded to the digits of the member's name."""
        if self.strengths.matched is not None and isinstance(strength, int | float):
            return Member(self, rounded(strength))
        return Member(self, strength)

    @property
    def members(self) -> "list[Member]":
        """The members of every evaluation, and the one whose strength validation data choose."""
        chosen = (VALIDATION,) if self.strengths.chosen else ()
        return [self.at(strength) for strength in (*self.strengths.fixed, *chosen)]

    def applies(self, context: MethodContext) -> bool:
        """Return whether the method has a meaning for these originals and this generator."""
        if "symmetries" in self.needs and context.symmetries is None:
            return False
        return "training examples" not in self.needs or context.data_budget is not None

    def missing(self, context: MethodContext) -> str | None:
        """Return why no member can be made; None if one can."""
        return self.at(self.strengths.fixed[0]).missing(context)


_MISSING: dict[Need, tuple[Callable[[MethodContext], bool], str]] = {
    "network": (lambda context: context.untrained is None, "needs the network"),
    "order": (
        lambda context: not context.is_ordered,
        "needs several checkpoints of a run, in a known order",
    ),
    "trajectories": (
        lambda context: not context.has_several_trajectories,
        "needs several runs with several checkpoints each",
    ),
    "base": (
        lambda context: context.base is None,
        "needs the network that training started from",
    ),
    "symmetries": (
        lambda context: context.symmetries is None,
        "needs the network's permutation symmetries",
    ),
    "validation labels": (
        lambda context: context.validate is None or context.validation_score is None,
        "needs validation data",
    ),
    "training examples": (
        lambda context: context.data_matched is None,
        "needs a classification task",
    ),
}


@dataclass(frozen=True)
class Member:
    """A method at a strength.

    Attributes:
        method: its registry entry.
        strength: None if it has none.
    """

    method: Method
    strength: Strength | None = None

    @property
    def name(self) -> str:
        """The group's name in ``evaluation.json``: ``swag@1.0``."""
        return self.method.name + ("" if self.strength is None else f"@{self.strength}")

    @property
    def is_chosen(self) -> bool:
        """Return whether validation data choose its strength."""
        return self.strength == VALIDATION and bool(self.method.strengths.chosen)

    @property
    def data_used(self) -> DataUse:
        """The task data that it looks at beside the parameters."""
        return DataUse("labels", "validation") if self.is_chosen else self.method.data_used

    @property
    def needs(self) -> frozenset[Need]:
        """Without one of these it is left out."""
        chosen: frozenset[Need] = frozenset({"validation labels"} if self.is_chosen else ())
        return self.method.needs | chosen

    @property
    def min_originals(self) -> int:
        """With fewer originals it is left out."""
        if self.method.min_originals is not None:
            return self.method.min_originals
        return self.strength if isinstance(self.strength, int) else 1

    def missing(self, context: MethodContext) -> str | None:
        """Return why it cannot be made, as the end of a sentence about it; None if it can."""
        least = self.min_originals
        if len(context.originals) < least:
            return f"needs {least} checkpoints"
        for need, (is_missing, reason) in _MISSING.items():
            if need in self.needs and is_missing(context):
                return reason
        if self.method.counts_each_run and min(map(len, context.trajectories)) < least:
            return f"needs {least} checkpoints of each run"
        return None

    def sample(self, context: MethodContext, draws: Draws) -> Samples:
        """Make networks.

        Args:
            context: what they are made from.
            draws: their number and their random numbers, which are used up; some methods make
                fewer networks.

        Returns:
            The networks.

        Raises:
            NotFiniteError: validation data choose the strength, and no strength gives networks
                that compute numbers.
        """
        assert self.method.sample is not None
        if context.adapters is not None:
            return self._with_adapters(context, draws)
        if not self.is_chosen:
            return self.method.sample(context, draws, self.strength)
        strength = self._choose(context, draws)
        samples = self.method.sample(context, draws, strength)
        tried = ", ".join(map(str, self.method.strengths.chosen))
        facts = {f"{self.name} is at": f"{strength}, of {tried}, by validation score"}
        return replace(samples, facts={**samples.facts, **facts}, data_used=self.data_used)

    def _with_adapters(self, context: MethodContext, draws: Draws) -> Samples:
        """Make networks from the products of low-rank factors, and factor what comes out.

        Their vectors are those of products, as factors can be turned at will.
        """
        adapters, products = context.adapters, context.of_products
        assert adapters is not None
        if not self.method.works_on_products:
            found = self.sample(replace(context, adapters=None), draws)
            raw = context.normalization.invert(found.vectors) if found.raw is None else found.raw
            return replace(found, raw=raw, vectors=products.vectors_of(raw))
        made = self.sample(products, draws)
        raw = products.normalization.invert(made.vectors) if made.raw is None else made.raw
        factored, kept = adapters.factored(raw)
        ranks = sorted({pair.rank for pair in adapters.pairs})
        facts = {
            "Adapters": f"{len(adapters.pairs)} products of factors, of rank "
            f"{', '.join(map(str, ranks))} again; {100 * kept:.1f}% or more of each is kept"
        }
        return replace(
            made,
            vectors=products.vectors_of(factored),
            raw=factored,
            facts={**made.facts, **facts},
        )

    def _choose(self, context: MethodContext, draws: Draws) -> Strength:
        """Return the strength with the best validation score, mean of a few other networks."""
        assert self.method.sample is not None and context.validate is not None
        scores: dict[Strength, float] = {}
        for strength in self.method.strengths.chosen:
            few = draws.for_purpose("choice", NUM_CHOOSING)
            tried = self.method.sample(context, few, strength).vectors
            with suppress(NotFiniteError):
                scores[strength] = float(context.validate(tried).double().mean())
        if not scores:
            raise NotFiniteError(f"{self.name}: no strength gives networks that compute numbers")
        return max(scores, key=scores.__getitem__)


def rounded(strength: float) -> float:
    """Round a strength to three significant digits, so that equal names mean equal strengths."""
    return float(f"{strength:.3g}")
