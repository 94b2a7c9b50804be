"""Replication of the published differences, in sign and size: one line per setting.

Levels are not comparable, because the checkpoints differ; differences within a run are: generated
minus original mean accuracy, similarity within the generated networks minus that within the
originals, the ratio of their standard deviations of accuracy, similarity to the nearest original,
and the loss of accuracy by noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from paramdiff.evaluation.comparison_schema import Pair
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.schema import Evaluation
from paramdiff.paper.paper_runs import PaperRun, PaperRuns
from paramdiff.paper.published import Published

NOISE = "0.05"
"""The strength of noise that nearly all of the authors' logs share with every run here."""

Sign = Literal["agrees", "differs", "not resolved"]


@dataclass(frozen=True)
class Both:
    """A number here and the published one."""

    ours: float | None
    theirs: float | None


@dataclass(frozen=True)
class Replication:
    """One setting.

    Attributes:
        key: of the setting.
        run: name of the run here.
        minus_original: generated minus original mean accuracy.
        ci95: interval of ours.
        sign: of the difference; not resolved if the interval holds 0.
        more_alike: similarity within the generated networks minus that within the originals.
        std_ratio: standard deviation of accuracy, generated over originals.
        max_similarity: to the nearest original, mean.
        noise: mean accuracy of originals with noise of 0.05 minus that of the originals.
    """

    key: str
    run: str
    minus_original: Both
    ci95: Pair | None
    sign: Sign | None
    more_alike: Both
    std_ratio: Both
    max_similarity: Both
    noise: Both


def replications(paper_runs: PaperRuns) -> list[Replication]:
    """Compare every setting that has a run and published differences.

    Args:
        paper_runs: runs and published numbers.

    Returns:
        One comparison per setting, in the order of the paper.
    """
    found: dict[str, Replication] = {}
    for table in paper_runs.tables:
        for setting in table.settings:
            run = paper_runs.run_of(table, setting)
            published = paper_runs.published.get(setting.key)
            if run is None or published is None or published.minus_original is None:
                continue
            found.setdefault(setting.key, _replication(setting.key, run, published))
    return list(found.values())


def count_signs(lines: Sequence[Replication]) -> Mapping[Sign, int]:
    """Count the signs that agree, differ and are not resolved."""
    signs: tuple[Sign, ...] = ("agrees", "differs", "not resolved")
    return {sign: sum(line.sign == sign for line in lines) for sign in signs}


def _replication(key: str, run: PaperRun, published: Published) -> Replication:
    groups = run.evaluation.groups
    original, generated = groups["original"], groups["generated"]
    difference, interval = _minus_original(run.evaluation)
    theirs = published.minus_original
    sign: Sign | None = None
    if interval is not None and difference is not None and theirs is not None:
        is_resolved = interval[0] > 0 or interval[1] < 0
        is_same = (difference > 0) == (theirs > 0)
        sign = ("agrees" if is_same else "differs") if is_resolved else "not resolved"
    noise = groups.get(f"noise@{NOISE}")
    their_noise = published.log_noise.get(NOISE)
    return Replication(
        key=key,
        run=run.name,
        minus_original=Both(difference, theirs),
        ci95=interval,
        sign=sign,
        more_alike=Both(
            _minus(generated.pairwise_similarity, original.pairwise_similarity),
            _minus(published.log_generated_similarity, published.log_original_similarity),
        ),
        std_ratio=Both(
            _over(generated.score.std, original.score.std),
            _over(published.log_generated_std, published.log_original_std),
        ),
        max_similarity=Both(_mean_similarity(generated), published.log_max_similarity),
        noise=Both(
            None if noise is None else noise.score.mean - original.score.mean,
            None
            if their_noise is None
            else _minus(their_noise.accuracy, published.log_original_mean),
        ),
    )


def _minus_original(evaluation: Evaluation) -> tuple[float | None, Pair | None]:
    found = evaluation.minus_original
    return (None, None) if found is None else (found.difference, found.ci95)


def _mean_similarity(group: Group) -> float | None:
    return None if group.max_similarity is None else group.max_similarity.mean


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
