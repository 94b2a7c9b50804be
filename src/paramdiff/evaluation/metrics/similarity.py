"""Similarity of networks: overlap (IoU) of what they get wrong in the test split (paper eq. 7).

In classification that is examples; a task with its own score may count pixels or objects.

All intersections come from one matrix product of the error indicators. Two networks without any
error are wrong on the same (empty) set: their similarity is defined as 1; one without errors
against one with errors is 0. A network with itself is 1.
"""

import torch
from torch import Tensor

from paramdiff.evaluation.metrics.base import MEAN_AND_RANGE, Column, GroupMetrics, Metric
from paramdiff.settings import Settings


class Summary(Settings):
    """A quantity over the networks of a group."""

    mean: float
    std: float
    min: float
    max: float


def similarity_matrix(wrong: Tensor, others: Tensor) -> Tensor:
    """Compute the IoU of wrong predictions.

    Args:
        wrong: error indicators ``[M, W]``, bool.
        others: error indicators ``[N, W]`` of the same list.

    Returns:
        ``[M, N]`` in [0, 1].
    """
    assert wrong.shape[1] == others.shape[1], (wrong.shape, others.shape)
    own, other = wrong.float(), others.float()
    intersection = own @ other.T
    union = own.sum(1)[:, None] + other.sum(1) - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1), torch.ones_like(union))


def maximum_similarity(wrong: Tensor, originals: Tensor, source: Tensor | None = None) -> Tensor:
    """Compute each network's highest similarity to an original.

    Args:
        wrong: error indicators ``[M, W]``.
        originals: error indicators ``[N, W]``.
        source: ``[M]``, the index of the original that each network was made from, which is left
            out; for the originals themselves their own indices.

    Returns:
        ``[M]``; -inf where leaving out the source leaves nothing.
    """
    matrix = similarity_matrix(wrong, originals)
    if source is not None:
        matrix[torch.arange(len(matrix)), source] = -torch.inf
    return matrix.max(1).values


def pairwise_similarity(wrong: Tensor) -> float | None:
    """Compute the mean similarity within a group ``[M, W]``; None for one network."""
    if len(wrong) < 2:
        return None
    matrix = similarity_matrix(wrong, wrong)
    return float((matrix.sum() - matrix.diagonal().sum()) / (len(wrong) * (len(wrong) - 1)))


def maximum_similarities(
    measured: GroupMetrics, name: str, *, with_source: bool = False
) -> Tensor | None:
    """Compute the maximum similarity ``[M]`` of a group's networks to the originals, once.

    Args:
        measured: every group.
        name: of the group.
        with_source: count the original that a network was made from, too.

    Returns:
        The similarities; None without errors, or without an original to compare with.
    """
    wrong, originals = measured.wrong(name), measured.wrong("original")
    if wrong is None or originals is None:
        return None
    source = None if with_source else measured.groups[name].source
    values = measured.once(
        ("maximum similarity", name, source is None),
        lambda: maximum_similarity(wrong, originals, source),
    )
    return values if torch.isfinite(values).all() else None


def similarity_to_source(measured: GroupMetrics, name: str) -> Tensor | None:
    """Compute the similarity ``[N]`` of each network to the original in the same place."""
    wrong, originals = measured.wrong(name), measured.wrong("original")
    if wrong is None or originals is None:
        return None
    return similarity_matrix(wrong, originals).diagonal()


def _summary(values: Tensor | None) -> Summary | None:
    if values is None:
        return None
    return Summary(
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        min=float(values.min()),
        max=float(values.max()),
    )


def _with_source(measured: GroupMetrics, name: str) -> Summary | None:
    if measured.groups[name].source is None or name == "original":
        return None
    return _summary(maximum_similarities(measured, name, with_source=True))


def _within(measured: GroupMetrics, name: str) -> float | None:
    wrong = measured.wrong(name)
    return None if wrong is None else pairwise_similarity(wrong)


MAX_SIMILARITY = Metric(
    name="max_similarity",
    label="Similarity",
    section="New",
    type=Summary,
    needs=frozenset({"errors"}),
    of_group=lambda measured, name: _summary(maximum_similarities(measured, name)),
    explanation=(
        "{% if not score.info.has_errors %}Not measured: this task calls nothing right or wrong, "
        "so there is nothing in which two networks could err alike. What follows compares "
        "parameters alone.{% else %}{{ 'The wrong predictions that two networks share, divided by "
        "those that either makes' if score.info.is_accuracy else 'What two networks both get "
        "wrong, divided by what either does' }} (intersection over union). For each network the "
        "highest value over all originals counts; a network made from one original, such as a "
        "noised one, is not compared with its own source in the tables unless they say so; where "
        "baselines are matched and on the frontier, its source counts as any other original. "
        "<em>Similarity within</em> is the mean over all pairs of a group.{% endif %}"
    ),
    columns=(
        Column(
            "groups",
            "Similarity to nearest original",
            "{% if value %}{{ value.mean | number }}{% if group.n > 1 %} &plusmn; "
            "{{ value.std | number }}<small>{{ value.min | number }} to {{ value.max | number }}"
            "</small>{% endif %}{% else %}{{ dash(none) }}{% endif %}"
            "{% if group.max_similarity_with_source %}<small>"
            "{{ group.max_similarity_with_source.mean | number }} to its source</small>"
            "{% endif %}",
        ),
        Column("side by side", "Overlap of errors with it", MEAN_AND_RANGE, is_optional=True),
    ),
)
"""To an original; the own source excluded."""
MAX_SIMILARITY_WITH_SOURCE = Metric(
    name="max_similarity_with_source",
    label="Similarity, its source included",
    section="New",
    type=Summary,
    needs=frozenset({"errors"}),
    of_group=_with_source,
)
"""The published habit: a noised checkpoint's own source counts. Shown beside the other."""
PAIRWISE_SIMILARITY = Metric(
    name="pairwise_similarity",
    label="Similarity within",
    section="New",
    type=float,
    needs=frozenset({"errors", "several networks"}),
    of_group=_within,
    columns=(Column("groups", "Similarity within"),),
)
"""Mean IoU within the group."""
