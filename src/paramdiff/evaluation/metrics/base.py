"""The interface of a metric, and what metrics are computed from."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.predictor import Predictions
from paramdiff.methods.data_use import NO_DATA, DataUse

if TYPE_CHECKING:
    from paramdiff.evaluation.reference_set import ReferenceSet

Section = Literal["Good", "New"]
"""Headings of the report's explanations: how well networks do, and how they differ."""
Table = Literal["groups", "novelty", "side by side"]
"""Tables of the report: all groups; their place among the originals; the same of the generated,
held-out and original networks alone, if there is no data-copying test."""
Need = Literal["errors", "several networks", "independent held-out networks"]
"""Errors that two networks can share; two or more networks in the group; held-out networks that
are independent of the originals."""

NUMBER = "{{ dash(value) }}"
"""A cell with two decimals."""
MEAN_AND_RANGE = (
    "{% if value %}{{ value.mean | number }}{% if group.n > 1 %} "
    '<small class="inline">({{ value.min | number }} to {{ value.max | number }})</small>'
    "{% endif %}{% else %}{{ dash(none) }}{% endif %}"
)
"""A cell with a mean, and with the lowest and highest value of several networks."""


@dataclass(frozen=True)
class Column:
    """A column of one of the report's tables.

    Heading and cell are Jinja templates of HTML. Both see ``score``, see ``ShownScore``; a cell
    sees the ``value``, which may be null, its ``group``, the group's ``name`` and the macros of
    the page, of which ``dash`` writes a number or its absence.

    Attributes:
        table: the table that it belongs to; columns stand there in the order of the registry.
        heading: of the column.
        cell: of each group.
        is_optional: leave the column out if no group of the table has a value.
        is_plot: give it the width of a plot.
    """

    table: Table
    heading: str
    cell: str = NUMBER
    is_optional: bool = False
    is_plot: bool = False


@dataclass(frozen=True)
class Metric:
    """A number, or a small record of numbers, of a group of networks.

    One of ``of_vectors`` and ``of_group`` computes it. Parameter vectors are in memory only while
    their group is measured; everything else is there once all groups are.

    Attributes:
        name: the key in ``evaluation.json`` under ``groups.NAME``.
        label: its name in the report.
        section: the heading under which it is explained.
        type: of its value; None stands for a metric that a group does not have.
        explanation: what it is and how to read it; a Jinja template that sees ``evaluation`` and
            ``score``. An empty one explains nothing.
        columns: where the report shows it. A metric without columns has a table of its own.
        needs: what must be there; otherwise the metric is None.
        of_vectors: computes it from a group's normalized vectors ``[M, P]``.
        of_group: computes it from the measurements of all groups, for the group of a name.
    """

    name: str
    label: str
    section: Section
    type: Any
    explanation: str = ""
    columns: tuple[Column, ...] = ()
    needs: frozenset[Need] = frozenset()
    of_vectors: "Callable[[Tensor, ReferenceSet], Any] | None" = None
    of_group: "Callable[[GroupMetrics, str], Any] | None" = None

    def __post_init__(self) -> None:
        if (self.of_vectors is None) == (self.of_group is None):
            raise ValueError(f"metric {self.name}: give either of_vectors or of_group")


@dataclass(frozen=True)
class NeighborDistances:
    """Distances of a group's vectors to the originals.

    Attributes:
        nearest: ``[M]`` L2 distance to the nearest original; infinite if none is left.
        index: ``[M]`` the row of that original.
        ratio: ``[M]`` of the nearest to the second-nearest distance, 0 for a copy and near 1 for
            a network amid many; nan without a second one.
    """

    nearest: Tensor
    index: Tensor
    ratio: Tensor


@dataclass(frozen=True)
class ParameterMetrics:
    """Place of a group's vectors among the originals; the vectors themselves are not kept.

    Attributes:
        values: by name, of the metrics that are computed from vectors.
        near: distances to the originals, the own source excluded.
        near_any: the same with the own source.
        near_rescaled: distance ``[M]`` to the nearest original of the group stretched to
            dispersion 1; None without dispersion, and if no data-copying test follows.
        aligned: distance ``[m]`` of some to the nearest original, units in any order; an original
            is not its own; None if not measured.
    """

    values: Mapping[str, Any]
    near: NeighborDistances
    near_any: NeighborDistances
    near_rescaled: Tensor | None
    aligned: Tensor | None = None

    @property
    def dispersion(self) -> float | None:
        """Dispersion of the group; None for one network."""
        return self.values["dispersion"]


@dataclass(frozen=True)
class GroupMeasurements:
    """Predictions of a group of networks, and their place in parameter space.

    Attributes:
        parameters: place of its vectors.
        predictions: on both splits.
        source: ``[M]`` index of the original that each was made from, if there is one; an
            original's own index.
        seeds: ``[M]`` the generator seed of each, if there are several.
        data: task data that the method used beside the parameters.
    """

    parameters: ParameterMetrics
    predictions: Predictions
    source: Tensor | None = None
    seeds: Tensor | None = None
    data: DataUse = NO_DATA


@dataclass(frozen=True)
class GroupMetrics:
    """Measurements of every group beside one set of originals, from which metrics are computed.

    Attributes:
        groups: every group by name, ``original`` among them.
        bootstrap: shared draws of test examples.
        runs: ``[N]`` the training run of each original; None if all are independent.
        held_out_runs: ``[H]``, the same of held-out networks; None counts them as one run.
        is_held_out_independent: whether held-out networks are independent of the originals, so
            that the data-copying test means something.
    """

    groups: dict[str, GroupMeasurements]
    bootstrap: Bootstrap
    runs: Tensor | None = None
    held_out_runs: Tensor | None = None
    is_held_out_independent: bool = False
    _known: dict[tuple[Hashable, ...], Tensor] = field(default_factory=dict)

    def once(self, key: tuple[Hashable, ...], compute: Callable[[], Tensor]) -> Tensor:
        """Return what was computed under a key, or compute it."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def num_networks(self, name: str) -> int:
        """Return the number of networks in a group."""
        return len(self.groups[name].predictions.test)

    def wrong(self, name: str) -> Tensor | None:
        """Error indicators ``[M, W]`` on the test split; None if nothing is wrong or right."""
        return self.groups[name].predictions.wrong

    def scores(self, name: str) -> Tensor:
        """Test score ``[M]`` float64."""
        return self.groups[name].predictions.test.double().mean(1)

    def mean_score(self, name: str) -> float:
        """Mean test score; from counts the same for groups that err alike."""
        scores = self.groups[name].predictions.test
        return float(scores.sum(dtype=torch.float64)) / scores.numel()

    def mean_draws(self, name: str) -> Tensor:
        """Bootstrap draws ``[draws]`` of the mean test score, drawn once."""
        return self.once(
            ("mean draws", name),
            lambda: self.bootstrap.means(
                self.groups[name].predictions.test, self.stream(name), self.clusters(name)
            ),
        )

    def stream(self, name: str) -> int:
        """Stream of random numbers by which a group's networks are drawn."""
        return list(self.groups).index(name)

    def runs_of(self, name: str) -> Tensor | None:
        """Training run ``[M]`` of each network, or of the original that it is made from.

        None if there is no such one, or nothing is known.
        """
        if name == "held_out":
            return self.held_out_runs
        source = self.groups[name].source
        if source is not None:
            return None if self.runs is None else self.runs[source]
        return self.runs if name in ("original", "reconstructed") else None

    def clusters(self, name: str) -> Tensor | None:
        """Cluster ``[M]`` of each network: the generator's seed, or the training run."""
        seeds = self.groups[name].seeds
        return self.runs_of(name) if seeds is None else seeds

    def has(self, need: Need, name: str) -> bool:
        """Return whether what a metric needs is there for a group."""
        if need == "errors":
            return self.wrong(name) is not None and self.wrong("original") is not None
        if need == "several networks":
            return self.num_networks(name) > 1
        return self.is_held_out_independent and "held_out" in self.groups
