"""The originals in parameter space, beside which every group is measured."""

from pathlib import Path
from typing import Any

from torch import Tensor

from paramdiff.evaluation.metrics.base import ParameterMetrics
from paramdiff.evaluation.metrics.diversity import principal_components
from paramdiff.evaluation.metrics.memorization import rescaled
from paramdiff.evaluation.metrics.nearest_neighbors import neighbor_distances
from paramdiff.evaluation.metrics.registry import METRICS
from paramdiff.parameters.layout import ParameterLayout


class ReferenceSet:
    """The originals, with what groups are compared with.

    Args:
        originals: ``[N, P]``, normalized per tensor.
        layout: place of each tensor.
        tests_copying: stretch groups for a data-copying test.
        scratch: see ``EvaluationInputs``.

    Attributes:
        originals: as given.
        layout: as given.
        components: ``[C, P]``, directions in which the originals vary most.
    """

    def __init__(
        self,
        originals: Tensor,
        layout: ParameterLayout,
        *,
        tests_copying: bool = True,
        scratch: Path | None = None,
    ) -> None:
        self.originals: Tensor = originals
        self.layout: ParameterLayout = layout
        self.components: Tensor = principal_components(originals)
        self._tests_copying, self._scratch = tests_copying, scratch

    def measure(self, vectors: Tensor, source: Tensor | None) -> ParameterMetrics:
        """Measure one group's vectors beside the originals.

        Args:
            vectors: ``[M, P]``, normalized per tensor.
            source: ``[M]`` index of the original that each was made from, if there is one.

        Returns:
            Every metric of vectors, and distances.
        """
        values: dict[str, Any] = {}
        for metric in METRICS.values():
            if metric.of_vectors is not None:
                has_enough = len(vectors) > 1 or "several networks" not in metric.needs
                values[metric.name] = metric.of_vectors(vectors, self) if has_enough else None
        near = neighbor_distances(vectors, self.originals, source)
        return ParameterMetrics(
            values=values,
            near=near,
            near_any=near if source is None else neighbor_distances(vectors, self.originals),
            near_rescaled=self._near_rescaled(vectors, values["dispersion"]),
        )

    def _near_rescaled(self, vectors: Tensor, dispersion: float | None) -> Tensor | None:
        if not dispersion or not self._tests_copying:
            return None
        stretched = rescaled(vectors, dispersion, self._scratch)
        return neighbor_distances(stretched, self.originals).nearest
