"""The columns of the paper's tables: how each is read from a run and from published numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.metrics.score import GroupScore
from paramdiff.evaluation.metrics.similarity import Summary
from paramdiff.paper.paper_runs import PaperRun
from paramdiff.paper.paper_table import QuantityName, Setting
from paramdiff.paper.published import Published
from paramdiff.report import text as words

Value = float | Pair
Read = Callable[[PaperRun], Value | None]


@dataclass(frozen=True)
class Quantity:
    """A column.

    Attributes:
        label: its heading.
        form: format of its values.
        ours: reads it from a run; None if it is only published.
        theirs: its name in ``Published``; None if nothing is published.
    """

    label: str
    form: Literal["percent", "points", "similarity", "range", "count"]
    ours: Read | None
    theirs: str | None

    @property
    def is_from_log(self) -> bool:
        """If the published value comes from the authors' logs rather than from the paper."""
        return (self.theirs or "").startswith(("log_", "minus_original"))

    def published(self, setting: Setting, published: Published | None, name: str) -> Value | None:
        """Return the published value of a setting: its table's own, or the recipe's."""
        if name in setting.published:
            return setting.published[name]
        return (
            None if published is None or self.theirs is None else getattr(published, self.theirs)
        )

    def format(self, value: Value | None, *, printed: bool = False) -> str:
        """Format a value; a ``printed`` one has the digits that the paper prints."""
        if value is None:
            return words.ABSENT
        if isinstance(value, tuple):
            return " to ".join(f"{bound:.2f}" for bound in value)
        if self.form == "count":
            return f"{value:,.0f}"
        if self.form == "similarity":
            return f"{value:.3f}"
        if self.form == "points":
            return words.points(value)
        is_coarse = printed and not self.is_from_log
        return f"{100 * value:.{1 if is_coarse else 2}f}"

    def change(self, value: Value | None, default: Value | None, *, printed: bool = False) -> str:
        """Format the difference to the default's value, in points; empty if there is none."""
        if self.form != "percent" or isinstance(value, tuple) or isinstance(default, tuple):
            return ""
        if value is None or default is None:
            return ""
        if printed and not self.is_from_log:
            return f"{100 * (value - default):+.1f}".replace("-", words.MINUS)
        return words.points(value - default)


def _score(group: str, read: Callable[[GroupScore], float]) -> Read:
    def ours(run: PaperRun) -> float | None:
        found = run.evaluation.groups.get(group)
        return None if found is None else read(found.score)

    return ours


def _similarity(group: str, read: Callable[[Summary], Value]) -> Read:
    def ours(run: PaperRun) -> Value | None:
        found = run.evaluation.groups.get(group)
        return (
            None if found is None or found.max_similarity is None else read(found.max_similarity)
        )

    return ours


def _median_similarity(group: str) -> Read:
    def ours(run: PaperRun) -> float | None:
        found = run.tensors.get(f"max_similarity/{group}")
        return None if found is None else float(np.median(found.double().numpy()))

    return ours


def _minus_original(run: PaperRun) -> float | None:
    found = run.evaluation.minus_original
    return None if found is None else found.difference


def _range(summary: Summary) -> Pair:
    return summary.min, summary.max


QUANTITIES: dict[QuantityName, Quantity] = {
    "num_parameters": Quantity("Parameters", "count", None, None),
    "original_best": Quantity(
        "Best original, %", "percent", _score("original", lambda a: a.max), "original_best"
    ),
    "original_mean": Quantity(
        "Originals, mean, %", "percent", _score("original", lambda a: a.mean), "original_mean"
    ),
    "log_original_mean": Quantity(
        "Originals, mean, %",
        "percent",
        _score("original", lambda a: a.mean),
        "log_original_mean",
    ),
    "ensemble": Quantity(
        "Ensemble, %", "percent", _score("average@all", lambda a: a.mean), "ensemble"
    ),
    "generated_best": Quantity(
        "Best generated, %", "percent", _score("generated", lambda a: a.max), "generated_best"
    ),
    "generated_mean": Quantity(
        "Generated, mean, %", "percent", _score("generated", lambda a: a.mean), "generated_mean"
    ),
    "log_generated_mean": Quantity(
        "Generated, mean, %",
        "percent",
        _score("generated", lambda a: a.mean),
        "log_generated_mean",
    ),
    "similarity_range": Quantity(
        "Maximum similarity, range", "range", _similarity("generated", _range), "similarity_range"
    ),
    "original_similarity_range": Quantity(
        "Maximum similarity, range",
        "range",
        _similarity("original", _range),
        "original_similarity_range",
    ),
    "original_similarity_median": Quantity(
        "Originals, median similarity", "similarity", _median_similarity("original"), None
    ),
    "generated_similarity_median": Quantity(
        "Generated, median similarity", "similarity", _median_similarity("generated"), None
    ),
    "minus_original": Quantity(
        "Generated minus originals, points", "points", _minus_original, "minus_original"
    ),
    "max_similarity": Quantity(
        "Maximum similarity, mean",
        "similarity",
        _similarity("generated", lambda s: s.mean),
        "log_max_similarity",
    ),
    "kde_mean": Quantity(
        "Kernel density fit, mean, %", "percent", _score("kde", lambda a: a.mean), None
    ),
    "s_kde30": Quantity("S_KDE30, mean, %", "percent", None, None),
    "sane_sub": Quantity("SANE_SUB, mean, %", "percent", None, None),
    "sane_kde30": Quantity("SANE_KDE30, mean, %", "percent", None, None),
}
