"""The alignment stage: permute the channels of independently trained networks into one order.

aligned/
  index.json, base.safetensors, checkpoints/  a zoo whose networks compute the same functions
  alignment.json                              how much nearer they lie to each other
"""

from collections.abc import Iterator
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.metrics.aligned_distance import are_unordered
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.permutation.align import Alignment, align
from paramdiff.permutation.symmetry import Symmetries, check_complete, find_symmetries
from paramdiff.runs.run_context import RunContext
from paramdiff.settings import Settings
from paramdiff.storage import read_json, write_json, written_aside
from paramdiff.subsampling import evenly_spaced
from paramdiff.tasks.base import Task, require_classification
from paramdiff.zoo.metadata import validation_scores
from paramdiff.zoo.zoo import Zoo, write_zoo

ALIGNMENT_FILE = "alignment.json"
MAX_LOOKED_AT, MAX_VALUES = 20, 1 << 25
"""Most originals, and most of their values in memory, in the test of a common order."""


class AlignmentQuality(Settings):
    """The content of ``alignment.json``."""

    num_groups: int = Field(description="groups of interchangeable channels or blocks")
    num_rounds: int = Field(description="rounds of matching that changed anything")
    variance_before: float = Field(
        description="mean squared distance to the mean, per parameter, each tensor normalized"
    )
    variance_after: float
    average_before: float | None = Field(
        description="validation score of the average of the originals; null if it is not finite"
    )
    average_after: float | None

    def in_words(self) -> str:
        """Describe the alignment in one line."""
        text = f"{self.num_groups} groups of channels; variance about the mean "
        text += f"{self.variance_before:.3g} before, {self.variance_after:.3g} after"
        if self.average_before is not None and self.average_after is not None:
            text += (
                f"; validation score of the average {self.average_before:.4g} before, "
                f"{self.average_after:.4g} after"
            )
        return text


def symmetries_of(task: Task | None, layout: ParameterLayout) -> Symmetries:
    """Find the permutation symmetries of a task's network.

    Args:
        task: whose network it is; None if there are only checkpoints.
        layout: of the network's whole state dict.

    Returns:
        The symmetries.

    Raises:
        UserError: there is no such task, or the network cannot be aligned.
    """
    labelled = require_classification(task, "alignment")
    return find_symmetries(labelled.build_network(), layout, labelled.train.inputs[:2])


def known_symmetries(task: Task, zoo: Zoo) -> Symmetries | None:
    """Find the permutation symmetries if the whole network is generated and can be aligned."""
    try:
        check_complete(zoo.base, zoo.layout)  # before a network is built for nothing
        return symmetries_of(task, zoo.layout)
    except UserError:
        return None


def is_unordered(zoo: Zoo) -> bool:
    """Test if a zoo of whole networks holds independent runs whose channels share no order.

    Args:
        zoo: of which a few evenly spaced originals are compared.

    Returns:
        True if their channels are in no common order.
    """
    try:
        check_complete(zoo.base, zoo.layout)
    except UserError:
        return False
    most = max(2, min(MAX_LOOKED_AT, MAX_VALUES // zoo.layout.num_parameters))
    rows = evenly_spaced(len(zoo.originals), most)
    vectors = zoo.originals[rows].float()
    return are_unordered(fit_normalization(vectors, zoo.layout).apply(vectors))


def align_zoo(run: RunContext) -> None:
    """Align the zoo, and write how much nearer its networks lie to each other."""
    zoo, task = Zoo.load(run.folder.artifact("zoo")), run.task
    symmetries = symmetries_of(task, zoo.layout)
    assert task is not None
    found = align(
        zoo.originals,
        zoo.held_out,
        symmetries,
        seed=run.recipe.seed,
        progress=partial(run.progress, "aligning the zoo"),
    )
    quality = _quality(task, zoo, symmetries, found, run.device)
    index = zoo.index
    entries = [entry.model_dump(exclude={"file", "sha256"}) for entry in index.checkpoints]
    with written_aside(run.folder.artifact("aligned")) as aside:
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


def alignment_facts(run: RunContext) -> dict[str, str]:
    """Describe the alignment of a run's zoo for its report; empty if it was not aligned."""
    file = run.folder.artifact("aligned") / ALIGNMENT_FILE
    if not file.is_file():
        return {}
    return {"Alignment": AlignmentQuality.model_validate(read_json(file)).in_words()}


def _in_order(zoo: Zoo, found: Alignment) -> Iterator[Tensor]:
    """Yield the vectors in the order of the index, where held-out ones may be anywhere."""
    originals, held_out = iter(found.originals), iter(found.held_out)
    for entry in zoo.index.checkpoints:
        yield next(held_out if entry.held_out else originals)


def _quality(
    task: Task, zoo: Zoo, symmetries: Symmetries, found: Alignment, device: torch.device
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
