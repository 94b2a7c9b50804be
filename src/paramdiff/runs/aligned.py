"""The stage between a zoo and its parameter space: networks of independent runs, rearranged.

aligned/
  index.json, base.safetensors, checkpoints/  a zoo whose networks compute what the zoo's do
  alignment.json                              how much nearer they lie to each other
"""

import time
import warnings
from collections.abc import Iterator
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.metrics.aligned_distance import UNORDERED, are_unordered
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.permutation.align import Alignment, align
from paramdiff.permutation.symmetry import Symmetries, check_complete, find_symmetries
from paramdiff.runs.context import Context
from paramdiff.settings import Settings
from paramdiff.storage import read_json, write_json, written_aside
from paramdiff.subsampling import evenly_spaced
from paramdiff.tasks.base import AnyTask, Task
from paramdiff.zoo.metadata import validation_scores
from paramdiff.zoo.zoo import Zoo, write_zoo

ALIGNMENT_FILE = "alignment.json"
MAX_LOOKED_AT, MAX_VALUES = 20, 1 << 25
"""Originals, and values of them in memory, that tell whether units are in a common order."""


class AlignmentQuality(Settings):
    """The content of ``alignment.json``."""

    num_groups: int = Field(description="groups of interchangeable channels or blocks")
    num_rounds: int = Field(description="rounds of matching that changed anything")
    variance_before: float = Field(
        description="mean squared distance to the mean, per parameter, each tensor normalized"
    )
    variance_after: float
    average_before: float | None = Field(
        description="validation score of the average of the originals; null where it is not finite"
    )
    average_after: float | None

    def in_words(self) -> str:
        """One line for people."""
        told = f"{self.num_groups} groups of channels; variance about the mean "
        told += f"{self.variance_before:.3g} before, {self.variance_after:.3g} after"
        if self.average_before is not None and self.average_after is not None:
            told += (
                f"; validation score of the average {self.average_before:.4g} before, "
                f"{self.average_after:.4g} after"
            )
        return told


def symmetries_of(task: AnyTask | None, layout: ParameterLayout) -> Symmetries:
    """What can trade places in a task's network.

    Args:
        task: whose network it is; None where there is only a folder of checkpoints.
        layout: of the network's whole state dict.

    Returns:
        The symmetries.

    Raises:
        UserError: there is no such task, or the network cannot be aligned.
    """
    if not isinstance(task, Task):
        found = "none" if task is None else "one with its own score"
        raise UserError(
            f"alignment: expected a classification task, whose network is known, found {found}"
        )
    return find_symmetries(task.build_network(), layout, task.train.inputs[:2])


def known_symmetries(task: AnyTask, zoo: Zoo) -> Symmetries | None:
    """What can trade places, where the whole network is generated and its structure understood."""
    try:
        check_complete(zoo.base, zoo.layout)  # before a network is built for nothing
        return symmetries_of(task, zoo.layout)
    except UserError:
        return None


def _is_unordered(zoo: Zoo) -> bool:
    """Whether a zoo of whole networks holds independent runs whose units are in no common order.

    A few evenly spaced originals are looked at.
    """
    try:
        check_complete(zoo.base, zoo.layout)
    except UserError:
        return False
    most = max(2, min(MAX_LOOKED_AT, MAX_VALUES // zoo.layout.num_parameters))
    rows = evenly_spaced(len(zoo.originals), most)
    vectors = zoo.originals[rows].float()
    return are_unordered(fit_normalization(vectors, zoo.layout).apply(vectors))


def make_aligned(context: Context, task: AnyTask | None, zoo: Zoo) -> Zoo:
    """Align the zoo where the recipe says so, once; otherwise the zoo as it is.

    Where it should have been aligned that is told before anything is trained, not only in the
    report; of checkpoints without a task, ``inspect`` and ``fit`` tell it.
    """
    if not context.recipe.parameters.align:
        if task is not None and not context.folder.is_past("alignment") and _is_unordered(zoo):
            warnings.warn(UNORDERED, stacklevel=2)
        return zoo
    folder = context.folder.artifact("alignment")
    if not folder.exists():
        started = time.monotonic()
        symmetries = symmetries_of(task, zoo.layout)
        assert task is not None
        found = align(
            zoo.originals,
            zoo.held_out,
            symmetries,
            seed=context.recipe.seed,
            progress=partial(context.progress, "aligning the zoo"),
        )
        quality = _quality(task, zoo, symmetries, found, context.device)
        entries = [entry.model_dump(exclude={"file", "sha256"}) for entry in zoo.index.checkpoints]
        index = zoo.index
        with written_aside(folder) as aside:
            write_zoo(
                aside,
                _in_order(zoo, found),
                entries,
                zoo.layout,
                zoo.base,
                index.hold_out,
                index.checkpoint_format,
                index.duplicates,
            )
            write_json(aside / ALIGNMENT_FILE, quality.model_dump(mode="json"))
        context.folder.log.record("alignment", time.monotonic() - started)
    return Zoo.load(folder)


def alignment_facts(context: Context) -> dict[str, str]:
    """What the report says of a zoo that was aligned."""
    file = context.folder.artifact("alignment") / ALIGNMENT_FILE
    if not file.is_file():
        return {}
    return {"Alignment": AlignmentQuality.model_validate(read_json(file)).in_words()}


def _in_order(zoo: Zoo, found: Alignment) -> Iterator[Tensor]:
    """The vectors in the order of the index, in which held-out ones may stand anywhere."""
    originals, held_out = iter(found.originals), iter(found.held_out)
    for entry in zoo.index.checkpoints:
        yield next(held_out if entry.held_out else originals)


def _quality(
    task: AnyTask, zoo: Zoo, symmetries: Symmetries, found: Alignment, device: torch.device
) -> AlignmentQuality:
    scores_of = validation_scores(task, zoo, device)

    def average_score(vectors: Tensor) -> float | None:
        try:
            return scores_of([zoo.layout.unflatten(vectors.mean(0))])[0]
        except NotFiniteError:
            return None

    return AlignmentQuality(
        num_groups=len(symmetries.groups),
        num_rounds=found.num_rounds,
        variance_before=found.variance_before,
        variance_after=found.variance_after,
        average_before=average_score(zoo.originals),
        average_after=average_score(found.originals),
    )
