"""The task's own score: its name, unit and formatting.

Scores are higher where a network is better. Everything that writes one, from the verdict to the
figures, asks here.
"""

import math

from pydantic import Field

from paramdiff.settings import Settings

NEGLIGIBLE = 0.0005
"""A difference of less than 0.05 points is none, however sure it is: pairing on thousands of test
examples makes differences sure that nobody would choose by. Where scores are no fractions, it is
this share of the originals' score."""


class ScoreInfo(Settings):
    """Name, unit and properties of what every ``score`` in ``evaluation.json`` holds."""

    name: str = Field("accuracy", description="what the task scores, for people")
    is_fraction: bool = Field(True, description="between 0 and 1, and told in percent")
    is_per_example: bool = Field(
        True,
        description="whether each test example has a score; false where only the whole split has, "
        "and intervals cover networks alone",
    )
    selects_on_test: bool = Field(
        False,
        description="whether the reported scores also select, so that nothing chosen by them was "
        "chosen fairly",
    )
    has_errors: bool = Field(
        True,
        description="whether the task says what is wrong; false where similarities are null",
    )

    equivalence_margin: float | None = Field(
        None,
        description="two groups are as good as each other only if the whole interval of their "
        "difference lies within this margin, in units of the score; null makes no such claim",
    )

    @property
    def is_accuracy(self) -> bool:
        """Return whether it is accuracy, about which more can be said."""
        return self.name == "accuracy"

    def number(self, value: float, digits: int = 2) -> str:
        """A score without its unit: a fraction in percent, anything else to five figures.

        Args:
            value: the score.
            digits: behind the point of a percentage.

        Returns:
            The number.
        """
        return f"{100 * value:.{digits}f}" if self.is_fraction else plain(value, 5)

    def text(self, value: float, digits: int = 2) -> str:
        """A score with its unit; arguments as those of ``number``."""
        return self.number(value, digits) + ("%" if self.is_fraction else "")

    def deviation(self, value: float) -> str:
        """A standard deviation of scores, without its unit."""
        return f"{100 * value:.2f}" if self.is_fraction else plain(value, 3)

    def difference(self, value: float) -> str:
        """A difference of scores, always with its sign: of fractions in points."""
        return f"{100 * value:+.2f}" if self.is_fraction else plain(value, 3, sign="+")

    @property
    def of_difference(self) -> str:
        """Unit after a difference."""
        return f"points of {self.name}" if self.is_fraction else f"in {self.name}"

    def negligible(self, original: float) -> float:
        """The size below which a difference is none.

        Args:
            original: the originals' mean score.

        Returns:
            The size.
        """
        return NEGLIGIBLE if self.is_fraction else NEGLIGIBLE * abs(original)


def plain(value: float, figures: int, sign: str = "") -> str:
    """A number to some significant figures, without an exponent where it is of usual size.

    Args:
        value: finite.
        figures: how many.
        sign: ``+`` to write the sign of positive numbers, too.

    Returns:
        The number.
    """
    if not 1e-6 <= abs(value) < 1e15:
        return f"{value:{sign}.{figures}g}"
    decimals = max(0, figures - 1 - math.floor(math.log10(abs(value))))
    return f"{value:{sign}.{decimals}f}"
