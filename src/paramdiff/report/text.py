"""Numbers as text: fractions in percent, seconds in minutes, a dispersion in words."""

import re
from dataclasses import dataclass

from matplotlib.axes import Axes

from paramdiff.evaluation.comparison_schema import Comparison, Pair
from paramdiff.evaluation.metrics.diversity import HIGHEST_DISPERSION, LOWEST_DISPERSION
from paramdiff.evaluation.outcome import Outcome, outcome
from paramdiff.evaluation.schema import Evaluation
from paramdiff.evaluation.score_info import ScoreInfo

ABSENT = "\u2013"
MINUS = "\u2212"

EVEN_DISPERSION = (LOWEST_DISPERSION, HIGHEST_DISPERSION)
"""Dispersions that count as that of the originals; below lies contraction."""


def percent(fraction: float, digits: int = 2) -> str:
    """Write a fraction in percent."""
    return f"{100 * fraction:.{digits}f}%"


def points(difference: float) -> str:
    """Write a difference of fractions in percentage points, always with its sign."""
    return f"{100 * difference:+.2f}".replace("-", MINUS)


def points_interval(pair: Pair) -> str:
    """Write an interval of differences in percentage points."""
    return f"{points(pair[0])} to {points(pair[1])}"


def number(value: float | None, digits: int = 2) -> str:
    """Write a plain number; a dash for None."""
    return ABSENT if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """Write a plain number, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def signed_interval(pair: Pair, digits: int = 2) -> str:
    """Write an interval of signed numbers."""
    return f"{signed(pair[0], digits)} to {signed(pair[1], digits)}"


def typeset(sentence: str) -> str:
    """Give negative numbers a true minus, which no line break can tear off."""
    return re.sub(r"(?<=[\s(])-(?=\d)", MINUS, sentence)


def duration(seconds: float) -> str:
    """Write seconds in the two units that fit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: float) -> str:
    """Write megabytes, or gigabytes from 1,000 megabytes on."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def variety(dispersion: float) -> str:
    """Say how varied a group of some dispersion is."""
    if dispersion < EVEN_DISPERSION[0]:
        return "contracted: less varied than the originals"
    if dispersion > EVEN_DISPERSION[1]:
        return "more varied than the originals"
    return "about as varied as the originals"


OUTCOMES: dict[Outcome, str] = {
    "better": "better",
    "worse": "worse",
    "equivalent": "as good",
    "undecided": "not distinguishable",
}
OUTCOMES_OF_ACCURACY: dict[Outcome, str] = OUTCOMES | {
    "better": "more accurate",
    "worse": "less accurate",
}


@dataclass(frozen=True)
class ShownScore:
    """Formatting of a task's score; numbers have a true minus.

    Args:
        info: name, unit and properties of the score.
        original: the originals' mean.
    """

    info: ScoreInfo
    original: float

    @classmethod
    def of(cls, evaluation: Evaluation) -> "ShownScore":
        """Return the formatting of an evaluation's score."""
        original = evaluation.groups.get("original")
        level = 0.0 if original is None else original.score.mean
        return cls(evaluation.score_info, level)

    @property
    def name(self) -> str:
        """Name of the score within a sentence."""
        return self.info.name

    @property
    def reported(self) -> str:
        """Name of the reported score: on test examples, if these select nothing."""
        return self.name if self.info.selects_on_test else f"test {self.name}"

    @property
    def examples(self) -> str:
        """Name of the examples that are scored."""
        return "examples" if self.info.selects_on_test else "test examples"

    @property
    def title(self) -> str:
        """Name of the score at the beginning of a sentence."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def good(self) -> str:
        """Adjective for a network with a high score."""
        return "accurate" if self.info.is_accuracy else "good"

    @property
    def better(self) -> str:
        """Adjective for a network with a higher score."""
        return "more accurate" if self.info.is_accuracy else "better"

    @property
    def unit(self) -> str:
        """Unit of a number; empty unless the score is a fraction."""
        return "%" if self.info.is_fraction else ""

    @property
    def heading(self) -> str:
        """Unit after a column's name, if any."""
        return f", {self.unit}" if self.unit else ""

    @property
    def points(self) -> str:
        """Unit of a difference; empty unless the score is a fraction."""
        return "points" if self.info.is_fraction else ""

    def number(self, value: float, digits: int = 2) -> str:
        """Write a score without its unit; ``digits`` behind the point of a percentage."""
        return self.info.number(value, digits).replace("-", MINUS)

    def text(self, value: float, digits: int = 2) -> str:
        """Write a score with its unit."""
        return self.number(value, digits) + self.unit

    def interval(self, pair: Pair, digits: int = 2) -> str:
        """Write an interval of scores."""
        return f"{self.number(pair[0], digits)} to {self.text(pair[1], digits)}"

    def difference(self, value: float) -> str:
        """Write a difference of scores, always with its sign."""
        return self.info.difference(value).replace("-", MINUS)

    def difference_interval(self, pair: Pair) -> str:
        """Write an interval of differences."""
        return f"{self.difference(pair[0])} to {self.difference(pair[1])}"

    def outcome(self, comparison: Comparison) -> str:
        """Say how a paired difference was decided."""
        outcomes = OUTCOMES_OF_ACCURACY if self.info.is_accuracy else OUTCOMES
        return outcomes[outcome(comparison, self.info, self.original)]

    def label_axis(self, axes: Axes, which: str) -> None:
        """Write an axis of scores with their unit."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        factor = 100 if self.info.is_fraction else 1
        axis.set_major_formatter(lambda value, _: f"{factor * value:.4g}{self.unit}")
