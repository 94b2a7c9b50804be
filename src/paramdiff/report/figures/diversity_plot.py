"""Dispersion of the generated networks, tensor by tensor and direction by direction.

One number for the whole hides where a generator has collapsed. Beside it stand the alternatives
that the numbers must be read against.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.group_names import label_of, method_of
from paramdiff.report import text
from paramdiff.report.style import HALF, Arrays, Illustration, illustrate, quiet_grid

NAMED_TENSORS = 24
"""With more, names do not fit and tensors are numbered."""
LONGEST_NAME = 26
EVEN = "#e9f3ee"


@dataclass(frozen=True)
class DispersionTable:
    """Dispersion by part, of several groups.

    Args:
        parts: the tensors or the components, in order.
        groups: name to one value a part; None if it is not defined.
    """

    parts: tuple[str, ...]
    groups: dict[str, tuple[float | None, ...]]

    def rows(self) -> list[tuple[str, list[float | None]]]:
        """Every part with its value in each group; None if a group lacks it."""
        columns = list(zip_longest(*self.groups.values()))
        return [(part, list(values)) for part, values in zip(self.parts, columns, strict=False)]


def nearest_gaussian(evaluation: Evaluation) -> str | None:
    """Find the Gaussian fit whose dispersion is nearest to that of the generated networks."""
    generated = evaluation.groups.get("generated")
    if generated is None or generated.dispersion is None:
        return None
    target = generated.dispersion
    fits = {
        name: abs(group.dispersion - target)
        for name, group in evaluation.groups.items()
        if name.partition("@")[0] == "gaussian" and group.dispersion is not None
    }
    return min(fits, key=lambda name: fits[name], default=None)


def dispersion_by_tensor(evaluation: Evaluation) -> DispersionTable | None:
    """Dispersion of each tensor; None if the generated networks have none."""
    found = {
        name: per_tensor
        for name in _compared(evaluation)
        if (per_tensor := evaluation.groups[name].dispersion_per_tensor)
    }
    if "generated" not in found:
        return None
    tensors = tuple(found["generated"])
    return DispersionTable(
        tensors, {name: tuple(map(values.get, tensors)) for name, values in found.items()}
    )


def dispersion_by_component(evaluation: Evaluation) -> DispersionTable | None:
    """Dispersion in each principal component; None if the generated networks have none."""
    found: dict[str, tuple[float | None, ...]] = {
        name: tuple(values)
        for name in _compared(evaluation)
        if (values := evaluation.groups[name].dispersion_in_components)
    }
    if "generated" not in found:
        return None
    parts = tuple(str(index + 1) for index in range(len(found["generated"])))
    return DispersionTable(parts, found)


def tensor_figure(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the dispersion of each tensor, one row each; None if there is none."""
    table = dispersion_by_tensor(evaluation)
    if table is None:
        return None
    count = len(table.parts)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvspan(*text.EVEN_DISPERSION, color=EVEN, linewidth=0)
        for name, values in table.groups.items():
            pairs = [(value, row) for row, value in enumerate(values) if value is not None]
            axes.plot(*zip(*pairs, strict=True), linestyle="none", **_look(name))
        if count <= NAMED_TENSORS:
            axes.set_yticks(range(count), [_shortened(part) for part in table.parts])
            axes.tick_params(axis="y", labelsize=8.5 if count <= NAMED_TENSORS / 2 else 6.5)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel("tensor, in the network's order")
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("dispersion (1: as widely as the originals)")
        quiet_grid(axes)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, borderpad=0)

    return illustrate(
        draw,
        f"Dispersion of {count} tensors. " + _ranges(table),
        "How widely each tensor spreads, relative to the originals. In the green band it spreads "
        "about equally; left of it, it has contracted.",
        (HALF[0], 3.7),
    )


def component_figure(evaluation: Evaluation, arrays: Arrays) -> Illustration | None:
    """Draw the dispersion in the originals' principal components; None if there is none."""
    table = dispersion_by_component(evaluation)
    if table is None:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axhspan(*text.EVEN_DISPERSION, color=EVEN, linewidth=0)
        for name, values in table.groups.items():
            heights = [np.nan if value is None else value for value in values]
            axes.plot(range(1, len(values) + 1), heights, linewidth=1.2, **_look(name))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("principal component of the originals, largest first")
        axes.set_ylabel("dispersion along it")
        quiet_grid(axes)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, borderpad=0)

    return illustrate(
        draw,
        f"Dispersion in {len(table.parts)} principal components. " + _ranges(table),
        "The same in the directions in which the originals vary most. A generator that has "
        "learned only some of them falls below the band in the others.",
        (HALF[0], 3.7),
    )


def _compared(evaluation: Evaluation) -> list[str]:
    """Return the generated networks, a Gaussian that spreads as widely, and a separate run."""
    names = ["generated", nearest_gaussian(evaluation)]
    if evaluation.hold_out == "run":
        names.append("held_out")
    return [name for name in names if name in evaluation.groups]


def _look(name: str) -> dict[str, Any]:
    style, is_generated = method_of(name).style, name == "generated"
    return {
        "label": label_of(name),
        "color": style.color,
        "marker": style.marker,
        "markersize": 7.5 if is_generated else 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.8,
        "zorder": 4 if is_generated else 3,
    }


def _ranges(table: DispersionTable) -> str:
    told = []
    for name, values in table.groups.items():
        known = [value for value in values if value is not None]
        if known:
            low, high = text.number(min(known)), text.number(max(known))
            told.append(f"{label_of(name)}: {low} to {high}")
    return "; ".join(told) + "."


def _shortened(name: str) -> str:
    """A long name without its middle."""
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2 - 1
    return f"{name[:half]}...{name[-half:]}"
