"""What a set of checkpoints is, before anything is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from paramdiff.checkpoints.kinds import SAVE_AGAIN, is_generated
from paramdiff.checkpoints.sources import find_runs
from paramdiff.checkpoints.survey import Survey, SurveyedTensor, survey
from paramdiff.evaluation.schema import Trajectory
from paramdiff.evaluation.trajectory import trajectory_of
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
        refused: the first tensor that differs and can be neither generated nor copied, and why;
            None where there is none.
    """

    facts: dict[str, str]
    warnings: tuple[str, ...]
    tensors: tuple[SurveyedTensor, ...]
    generated: tuple[str, ...]
    refused: str | None = None

    @property
    def num_generated(self) -> int:
        """Parameters that would be generated, tied ones under every name."""
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
    found = survey(find_runs(sources), entry=entry, progress=progress)
    tensors = tuple(found.tensors.values())
    differing = [one for one in tensors if one.differs]
    refused = [one for one in differing if one.why_not is not None]
    generated = [one for one in differing if one.why_not is None and _is_generated(one)]
    names = {one.name for one in generated}
    tied = {name: source for name, source in found.ties.items() if name in names}
    num_values = sum(_size(one) for one in tensors)
    num_generated = sum(_size(one) for one in generated if one.name not in tied)
    trajectory = trajectory_of(found.samples, seed=0)
    those = "all that differ" if not refused else f"those of the {len(differing)} that differ"
    facts = {
        "Checkpoints": _checkpoints(found),
        "Stored as": found.form.words,
        "Tensors": f"{len(tensors)} with {num_values:,} values; {len(differing)} differ",
        "Order": _order(trajectory),
        "Would be generated": f"{num_generated:,} parameters in {len(generated)} tensors: {those}"
        if generated
        else f"nothing: no tensor {'that can be generated ' if refused else ''}differs",
    }
    if tied:
        facts["Tied"] = "; ".join(
            f"{name} is {source}" for name, source in list(tied.items())[:MAX_NAMED]
        )
    copied = [one.name for one in differing if one.why_not is None and not _is_generated(one)]
    if copied:
        facts["Would be copied"] = f"{in_few_words(copied)} (counters, as in {found.names[0]})"
    if found.form.left_out:
        facts["Not repeated"] = in_few_words(found.form.left_out)
    if refused:
        facts["Cannot be generated"] = in_few_words([one.name for one in refused])
    return Inspection(
        facts,
        _warnings(found, tensors, trajectory),
        tensors,
        tuple(one.name for one in generated),
        f"tensor {refused[0].name!r} differs between the checkpoints and cannot be generated: "
        f"{refused[0].why_not}, {SAVE_AGAIN}"
        if refused
        else None,
    )


def _checkpoints(found: Survey) -> str:
    num_runs = len(set(found.runs))
    runs = f" in {num_runs} runs" if num_runs > 1 else ""
    return f"{len(found.names)}{runs}, from {found.names[0]} to {found.names[-1]}"


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
        if one.why_not is not None:
            told.append(f"{one.name} differs and cannot be generated: {one.why_not}, {SAVE_AGAIN}")
        if one.broken:
            told.append(f"{one.name} holds NaN or infinite values in {in_few_words(one.broken)}")
        if one.outlying:
            told.append(
                f"{one.name} holds values in {in_few_words(one.outlying)} that are over a million "
                "times its usual size"
            )
    for names in found.duplicates:
        told.append(f"{in_few_words(names)} hold equal tensors")
    is_ordered = trajectory is not None and trajectory.is_found
    if not is_ordered and _are_unordered(tensors):
        told.append(
            "the weights of two checkpoints have nothing in common, as in networks of independent "
            "runs: their units are in unrelated orders, and a recipe with their task and "
            "parameters.align=true brings them into one"
        )
    if len(found.names) < FEW_CHECKPOINTS:
        told.append(
            f"{len(found.names)} checkpoints are few to learn a distribution from: averages and "
            "Gaussian noise need none of it"
        )
    return tuple(told)


def _are_unordered(tensors: Sequence[SurveyedTensor]) -> bool:
    """Whether every matrix differs, and as widely as independent ones do (by a factor of 1.41)."""
    matrices = [one for one in tensors if len(one.shape) > 1 and one.scale]
    changes = [one.relative_change or 0.0 for one in matrices]
    return bool(changes) and min(changes) > 0 and median(changes) > UNRELATED_CHANGE


def _is_generated(tensor: SurveyedTensor) -> bool:
    shaped = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return is_generated(tensor.name, shaped)


def _size(tensor: SurveyedTensor) -> int:
    return torch.Size(tensor.shape).numel() * (2 if tensor.dtype.is_complex else 1)


def in_few_words(names: Sequence[str]) -> str:
    """A few of many names."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
