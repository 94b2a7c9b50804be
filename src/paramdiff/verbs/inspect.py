"""What a set of checkpoints is, before anything is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.checkpoints.survey import Survey, SurveyedTensor, survey
from paramdiff.evaluation.schema import Trajectory
from paramdiff.evaluation.trajectory import trajectory_of
from paramdiff.parameters.layout import is_copied_verbatim
from paramdiff.progress import Progress, ignore_progress

FEW_CHECKPOINTS = 30
MAX_NAMED = 3
UNRELATED_CHANGE = 1.0
"""Root mean square difference from the first checkpoint's values, over their own."""


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        facts: label to value, in reading order.
        warnings: what should be looked at first, one sentence each.
        tensors: all tensors, in their own order.
        generated: names of the tensors that would be generated: those that differ.
    """

    facts: dict[str, str]
    warnings: tuple[str, ...]
    tensors: tuple[SurveyedTensor, ...]
    generated: tuple[str, ...]

    @property
    def num_generated(self) -> int:
        """Parameters that would be generated."""
        return sum(_size(one) for one in self.tensors if one.name in self.generated)


def inspect_checkpoints(
    sources: Sequence[str],
    *,
    entry: str | None = None,
    progress: Progress = ignore_progress,
) -> Inspection:
    """Read checkpoints and tell what they are.

    Args:
        sources: see ``find_runs``.
        entry: the key of the state dict, where a file holds several.
        progress: told how many checkpoints are read, and how many there are.

    Returns:
        What was found.

    Raises:
        UserError: a source is missing, or a checkpoint cannot be read or does not fit the others.
    """
    named = find_checkpoints(sources)
    found = survey(named.runs, entry=entry, progress=progress)
    tensors = tuple(found.tensors.values())
    differing = [one for one in tensors if one.differs]
    generated = [one for one in differing if not _is_copied(one)]
    num_values = sum(_size(one) for one in tensors)
    trajectory = trajectory_of(found.samples, seed=0)
    facts = {
        "Checkpoints": _checkpoints(found),
        **named.facts,
        "Stored as": found.form.words,
        "Tensors": f"{len(tensors)} with {num_values:,} values; {len(differing)} differ",
        "Order": _order(trajectory),
        "Would be generated": f"{sum(_size(one) for one in generated):,} parameters in "
        f"{len(generated)} tensors: all that differ"
        if generated
        else _nothing(len(found.names)),
    }
    copied = [one.name for one in differing if _is_copied(one)]
    if copied:
        facts["Would be copied"] = f"{_named(copied)} (counters and single values)"
    warnings = _warnings(found, tensors, trajectory)
    return Inspection(facts, warnings, tensors, tuple(one.name for one in generated))


def _checkpoints(found: Survey) -> str:
    if len(found.names) == 1:
        return f"1, {found.names[0]}"
    num_runs = len(set(found.runs))
    runs = f" in {num_runs} runs" if num_runs > 1 else ""
    return f"{len(found.names)}{runs}, from {found.names[0]} to {found.names[-1]}"


def _nothing(num_checkpoints: int) -> str:
    if num_checkpoints == 1:
        return "nothing: it takes several checkpoints"
    return "nothing: no tensor with more than one value differs"


def _order(trajectory: Trajectory | None) -> str:
    if trajectory is None:
        return "not tested (it takes 8 checkpoints that differ and hold finite values)"
    ratio = f"successive ones are {trajectory.step_ratio:.2f} times as far apart as any two"
    if trajectory.is_found:
        return f"one trajectory: {ratio}"
    return f"no trajectory: {ratio}"


def _warnings(
    found: Survey, tensors: Sequence[SurveyedTensor], trajectory: Trajectory | None
) -> tuple[str, ...]:
    told = []
    for one in tensors:
        if one.broken:
            told.append(f"{one.name} holds NaN or infinite values in {_named(one.broken)}")
        if one.outlying:
            told.append(
                f"{one.name} holds values in {_named(one.outlying)} that are over a million times "
                "its usual size"
            )
    for names in found.duplicates:
        told.append(f"{_named(names)} hold equal tensors")
    is_ordered = trajectory is not None and trajectory.is_found
    if not is_ordered and _are_unordered(tensors):
        told.append(
            "the weights of two checkpoints have nothing in common, as in networks of independent "
            "runs: their units are in unrelated orders, and a recipe with their task and "
            "parameters.align=true brings them into one"
        )
    if len(found.names) < FEW_CHECKPOINTS:
        few = (
            f"{len(found.names)} checkpoints are few"
            if len(found.names) > 1
            else "1 checkpoint is too little"
        )
        told.append(
            f"{few} to learn a distribution from: averages and Gaussian noise need none of it"
        )
    return tuple(told)


def _are_unordered(tensors: Sequence[SurveyedTensor]) -> bool:
    """Whether every matrix differs, and as widely as independent ones do (by a factor of 1.41)."""
    matrices = [one for one in tensors if len(one.shape) > 1 and one.scale]
    changes = [one.relative_change or 0.0 for one in matrices]
    return bool(changes) and min(changes) > 0 and median(changes) > UNRELATED_CHANGE


def _is_copied(tensor: SurveyedTensor) -> bool:
    shaped = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return is_copied_verbatim(tensor.name, shaped)


def _size(tensor: SurveyedTensor) -> int:
    return torch.Size(tensor.shape).numel()


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
