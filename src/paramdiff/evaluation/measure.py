"""Scores and vectors of the groups to the numbers of ``evaluation.json``."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.evaluation.bootstrap import Bootstrap, percentile_interval
from paramdiff.evaluation.metrics.diversity import (
    dispersion,
    dispersion_in_components,
    dispersion_per_tensor,
    effective_rank_ratio,
    principal_components,
)
from paramdiff.evaluation.metrics.memorization import (
    FEWEST_COMPARED,
    NUM_COMPARED,
    one_of_each,
    rescaled,
    share_of_copies,
    z_u,
    z_u_in_parameters,
)
from paramdiff.evaluation.metrics.nearest_neighbors import NeighborDistances, neighbor_distances
from paramdiff.evaluation.metrics.similarity import (
    maximum_similarity,
    pairwise_similarity,
    similarity_matrix,
)
from paramdiff.evaluation.outcome import needed
from paramdiff.evaluation.predictor import Answers
from paramdiff.evaluation.schema import (
    Aligned,
    BestOfN,
    Comparison,
    DataCopying,
    Distance,
    Group,
    GroupScore,
    Needed,
    SeedGroup,
    Summary,
)
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.subsampling import evenly_spaced


@dataclass(frozen=True)
class Position:
    """Where a group's vectors lie relative to the originals; the vectors themselves are not kept.

    Attributes:
        near: distances to the originals, the own source excluded.
        near_any: the same with the own source.
        near_rescaled: distance ``[M]`` to the nearest original of the group stretched to
            dispersion 1; None without spread, and where no data-copying test follows.
        aligned: distance ``[m]`` of some to the nearest original, units in any order; an original
            is not its own; None where not measured.
    """

    near: NeighborDistances
    near_any: NeighborDistances
    near_rescaled: Tensor | None
    dispersion: float | None
    dispersion_per_tensor: dict[str, float | None] | None
    dispersion_in_components: tuple[float, ...] | None
    effective_rank_ratio: float | None
    aligned: Tensor | None = None


class Space:
    """The originals' place in parameter space, against which every group is measured.

    Args:
        originals: ``[N, P]``, normalized per tensor.
        layout: where each tensor lies.
        tests_copying: whether a data-copying test follows, for which groups are stretched.
        scratch: see ``Subject``.
    """

    def __init__(
        self,
        originals: Tensor,
        layout: ParameterLayout,
        *,
        tests_copying: bool = True,
        scratch: Path | None = None,
    ) -> None:
        self._originals, self._layout, self._tests_copying = originals, layout, tests_copying
        self._scratch = scratch
        self._components = principal_components(originals)

    def position(self, vectors: Tensor, source: Tensor | None) -> Position:
        """Measure one group's vectors ``[M, P]``; ``source`` ``[M]`` as in ``Scored``."""
        spread = dispersion(vectors, self._originals)
        near = neighbor_distances(vectors, self._originals, source)
        return Position(
            near=near,
            near_any=near if source is None else neighbor_distances(vectors, self._originals),
            near_rescaled=self._near_rescaled(vectors, spread)
            if spread and self._tests_copying
            else None,
            dispersion=spread,
            dispersion_per_tensor=None
            if spread is None
            else dispersion_per_tensor(vectors, self._originals, self._layout),
            dispersion_in_components=dispersion_in_components(
                vectors, self._originals, self._components
            ),
            effective_rank_ratio=effective_rank_ratio(vectors, self._originals),
        )

    def _near_rescaled(self, vectors: Tensor, spread: float) -> Tensor:
        stretched = rescaled(vectors, spread, self._scratch)
        return neighbor_distances(stretched, self._originals).nearest


@dataclass(frozen=True)
class Scored:
    """A group of parameter sets with their scores.

    Attributes:
        position: where its vectors lie.
        answers: what they do.
        source: ``[M]`` index of the original that each was made from, where there is one; an
            original's own index.
        seeds: ``[M]`` the generator seed of each, where there are several.
        data: what the construction looked at beside the parameters.
    """

    position: Position
    answers: Answers
    source: Tensor | None = None
    seeds: Tensor | None = None
    data: DataUse = NO_DATA


@dataclass(frozen=True)
class Measurements:
    """Measures groups against one set of originals.

    Attributes:
        scored: every group, ``original`` among them.
        bootstrap: shared draws of test examples.
        runs: ``[N]`` the training run of each original; None where all are independent.
        held_out_runs: ``[H]``, the same of held-out networks; None counts them as one run.
    """

    scored: dict[str, Scored]
    bootstrap: Bootstrap
    runs: Tensor | None = None
    held_out_runs: Tensor | None = None
    _draws: dict[str, Tensor] = field(default_factory=dict)
    _similarities: dict[tuple[str, bool], Tensor] = field(default_factory=dict)

    def wrong(self, name: str) -> Tensor | None:
        """Error indicators ``[M, W]`` on the test split; None where nothing is wrong or right."""
        return self.scored[name].answers.wrong

    def scores(self, name: str) -> Tensor:
        """Test score ``[M]`` float64."""
        return self.scored[name].answers.test.double().mean(1)

    def mean_score(self, name: str) -> float:
        """The group's mean test score; from counts the same for groups that err alike."""
        scores = self.scored[name].answers.test
        return float(scores.sum(dtype=torch.float64)) / scores.numel()

    def maximum_similarities(self, name: str, *, with_source: bool = False) -> Tensor | None:
        """Maximum similarity ``[M]`` to the originals; None where there are none to compare."""
        wrong, originals = self.wrong(name), self.wrong("original")
        if wrong is None or originals is None:
            return None
        source = None if with_source else self.scored[name].source
        key = name, source is None
        if key not in self._similarities:
            self._similarities[key] = maximum_similarity(wrong, originals, source)
        values = self._similarities[key]
        return values if torch.isfinite(values).all() else None

    def similarity_to_source(self, name: str) -> Tensor | None:
        """Similarity ``[N]`` of each network to the original in the same place."""
        wrong, originals = self.wrong(name), self.wrong("original")
        if wrong is None or originals is None:
            return None
        return similarity_matrix(wrong, originals).diagonal()

    def runs_of(self, name: str) -> Tensor | None:
        """The training run ``[M]`` of each network, or of the original that it is made from.

        None where there is no such one, or nothing is known.
        """
        if name == "held_out":
            return self.held_out_runs
        source = self.scored[name].source
        if source is not None:
            return None if self.runs is None else self.runs[source]
        return self.runs if name in ("original", "reconstructed") else None

    def clusters(self, name: str) -> Tensor | None:
        """What networks of a group share ``[M]``: the generator's seed, or the training run."""
        seeds = self.scored[name].seeds
        return self.runs_of(name) if seeds is None else seeds

    def pairwise_similarity(self, name: str, rows: Tensor | slice = slice(None)) -> float | None:
        """Mean similarity within a group, or within some rows of it; None where it has none."""
        wrong = self.wrong(name)
        return None if wrong is None else pairwise_similarity(wrong[rows])

    def group(self, name: str, *, independent_hold_out: bool) -> Group:
        """All numbers of one group.

        Args:
            name: the group's.
            independent_hold_out: whether held-out networks are independent of the originals, so
                that the data-copying test means something.

        Returns:
            The numbers.
        """
        scored, position = self.scored[name], self.scored[name].position
        nearest, ratio = position.near.nearest, position.near.ratio
        has_source = scored.source is not None and name != "original"
        own_neighbors = self.scored["original"].position.near.nearest
        return Group(
            n=len(scored.answers.test),
            score=self._group_score(name),
            max_similarity=_summary(self.maximum_similarities(name)),
            max_similarity_with_source=_summary(self.maximum_similarities(name, with_source=True))
            if has_source
            else None,
            pairwise_similarity=self.pairwise_similarity(name),
            min_distance=_distance(nearest),
            nearest_ratio=float(ratio.mean()) if torch.isfinite(ratio).all() else None,
            copies=None
            if name == "original"
            else share_of_copies(position.near_any.nearest, own_neighbors),
            dispersion=position.dispersion,
            dispersion_per_tensor=position.dispersion_per_tensor,
            dispersion_in_components=position.dispersion_in_components,
            effective_rank_ratio=position.effective_rank_ratio,
            z_u=self._data_copying(name) if independent_hold_out else None,
            data_used=scored.data.kind,
            data_split=scored.data.split,
            images_seen=scored.data.images_seen,
            aligned=self._aligned(name),
        )

    def of_seeds(
        self, name: str, vectors: Tensor, originals: Tensor
    ) -> dict[str, SeedGroup] | None:
        """Numbers by generator seed of a group with vectors ``[M, P]``; None for a single seed."""
        seeds = self.scored[name].seeds
        if seeds is None or len(seeds.unique()) < 2:
            return None
        found = {}
        for seed in seeds.unique().tolist():
            rows = seeds == seed
            found[str(seed)] = SeedGroup(
                n=int(rows.sum()),
                score=float(self.scores(name)[rows].mean()),
                dispersion=dispersion(vectors[rows], originals),
                pairwise_similarity=self.pairwise_similarity(name, rows),
            )
        return found

    def compare(self, name: str, reference: str) -> Comparison:
        """The paired difference of mean scores, ``name`` minus ``reference``."""
        draws = self._means(name) - self._means(reference)
        return Comparison(
            group=name,
            reference=reference,
            reference_dispersion=self.scored[reference].position.dispersion,
            difference=self.mean_score(name) - self.mean_score(reference),
            ci95=percentile_interval(draws),
        )

    def needed(self, comparison: Comparison, margin: float | None) -> Needed | None:
        """Estimate what would decide a comparison; see ``outcome.needed``."""
        names = comparison.group, comparison.reference
        scores = [self.scored[name].answers.test.double() for name in names]
        varying = [one.mean(1) for one in scores if len(one) > 1]
        of_networks = sum(float(one.var()) / len(one) for one in varying)
        by_example = scores[0].mean(0) - scores[1].mean(0)
        num_examples = len(by_example)
        of_examples = float(by_example.var()) / num_examples if num_examples > 1 else 0.0
        return needed(
            comparison.difference,
            comparison.ci95,
            margin,
            (of_networks, of_examples),
            (min(map(len, varying), default=1), num_examples),
        )

    def best_of(self, name: str, n: int) -> BestOfN:
        """The best of ``n`` on validation data, scored once on test data.

        Of a group with more networks, ``n`` evenly spaced ones compete: the first ones of several
        generator seeds, or of a training run, would not stand for the group. Of equally good ones,
        the draw that names the winner is the bootstrap's.
        """
        answers, clusters = self.scored[name].answers, self.clusters(name)
        rows = evenly_spaced(len(answers.validation), n)
        validation = answers.validation[rows].double().mean(1)
        tied = (validation == validation.max()).nonzero()[:, 0]
        stream = list(self.scored).index(name)
        pick = torch.randint(len(tied), (1,), generator=self.bootstrap.generator(stream))
        best = int(tied[pick])
        draws = self.bootstrap.best_on(
            answers.validation[rows],
            answers.test[rows],
            stream,
            None if clusters is None else clusters[rows],
        )
        return BestOfN(
            n=n,
            validation_score=float(validation[best]),
            test_score=float(self.scores(name)[rows[best]]),
            ci95=percentile_interval(draws),
            num_tied=len(tied),
        )

    def _aligned(self, name: str) -> Aligned | None:
        """Distances with units in any order; None where they are not measured."""
        nearest = self.scored[name].position.aligned
        of_originals = self.scored["original"].position.aligned
        if nearest is None or of_originals is None:
            return None
        distance = _distance(nearest)
        if distance is None:
            return None
        copies = None if name == "original" else share_of_copies(nearest, of_originals)
        return Aligned(n=len(nearest), min_distance=distance, copies=copies)

    def _data_copying(self, name: str) -> DataCopying | None:
        held_out, group = self.scored.get("held_out"), self.scored[name]
        if held_out is None or name in ("held_out", "original"):
            return None
        rows, others = self._independent(name), self._independent("held_out")
        if min(len(rows), len(others)) < FEWEST_COMPARED:
            return None
        similarity = self.maximum_similarities(name, with_source=True)
        similarity_held_out = self.maximum_similarities("held_out")
        rescaled_group = group.position.near_rescaled
        if similarity is None and rescaled_group is None:
            return None
        return DataCopying(
            n=len(rows),
            n_held_out=len(others),
            behavior=None
            if similarity is None or similarity_held_out is None
            else z_u(1 - similarity[rows], 1 - similarity_held_out[others]),
            parameters=None
            if rescaled_group is None
            else z_u_in_parameters(
                group.position.near_any.nearest[rows],
                rescaled_group[rows],
                held_out.position.near.nearest[others],
            ),
        )

    def _independent(self, name: str) -> Tensor:
        """Rows of independent networks: one per run where runs are known, evenly spaced ones."""
        num, runs = len(self.scored[name].answers.test), self.runs_of(name)
        if name == "held_out":
            if runs is None:
                return torch.arange(min(num, 1))
            known = runs.new_empty(0) if self.runs is None else self.runs
            fresh = (~torch.isin(runs, known)).nonzero()[:, 0]
            rows = fresh[one_of_each(runs[fresh], self.bootstrap.seed)]
        else:
            rows = torch.arange(num) if runs is None else one_of_each(runs, self.bootstrap.seed)
        return rows[evenly_spaced(len(rows), NUM_COMPARED)]

    def _means(self, name: str) -> Tensor:
        if name not in self._draws:
            stream = list(self.scored).index(name)
            values = self.scored[name].answers.test
            self._draws[name] = self.bootstrap.means(values, stream, self.clusters(name))
        return self._draws[name]

    def _group_score(self, name: str) -> GroupScore:
        values = self.scores(name)
        return GroupScore(
            mean=self.mean_score(name),
            std=float(values.std(correction=0)),
            min=float(values.min()),
            max=float(values.max()),
            median=float(values.quantile(0.5)),
            ci95=percentile_interval(self._means(name)),
        )


def _distance(nearest: Tensor) -> Distance | None:
    if not torch.isfinite(nearest).all():
        return None
    return Distance(mean=float(nearest.mean()), min=float(nearest.min()), max=float(nearest.max()))


def _summary(values: Tensor | None) -> Summary | None:
    if values is None:
        return None
    return Summary(
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        min=float(values.min()),
        max=float(values.max()),
    )
