"""Describe a set of checkpoints, before anything is made of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from paramdiff.checkpoints.order import MAX_NAMED, first_names
from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.checkpoints.summary import CheckpointSummary, TensorSummary, summarize
from paramdiff.checkpoints.tensor_kinds import SAVE_AGAIN, is_generated
from paramdiff.evaluation.trajectory import Trajectory, related_groups, trajectory_of
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.storage import StrPath

FEW_CHECKPOINTS = 30
READING = "reading checkpoints"
"""The stage's name."""


@dataclass(frozen=True)
class Inspection:
    """Facts about a set of checkpoints.

    Attributes:
        facts: label to value, in reading order.
        warnings: what should be looked at first, one sentence each.
        tensors: all tensors, in their own order.
        generated: names of the tensors that would be generated: those that differ.
        refused: the first tensor that differs and can be neither generated nor copied, and why;
            None where there is none.
        notes: which checkpoints were left out or stand in another order, one sentence each.
        num_checkpoints: copies aside.
    """

    facts: dict[str, str]
    warnings: tuple[str, ...]
    tensors: tuple[TensorSummary, ...]
    generated: tuple[str, ...]
    refused: str | None = None
    notes: tuple[str, ...] = ()
    num_checkpoints: int = 0

    @property
    def num_generated(self) -> int:
        """Parameters that would be generated, tied ones under every name."""
        return sum(_size(one) for one in self.tensors if one.name in self.generated)


def inspect(
    checkpoints: StrPath | Sequence[StrPath],
    *,
    state_dict_key: str | None = None,
    progress: StageProgress = ignore_progress,
) -> Inspection:
    """Read checkpoints and describe them: what differs, what is broken, what can be generated.

    Args:
        checkpoints: files, folders (one sub-folder per run), globs, or ``owner/name@revision`` on
            the Hub.
        state_dict_key: the key of the state dict in files that hold several.
        progress: called with a stage's name, the checkpoints read and all of them.

    Returns:
        The facts about them.

    Raises:
        UserError: a source is missing, or a checkpoint cannot be read or does not fit the others.
    """
    given = find_checkpoints(sources_of(checkpoints))
    found = summarize(
        given.runs,
        state_dict_key=state_dict_key,
        notes=given.notes,
        progress=partial(progress, READING),
    )
    tensors = tuple(found.tensors.values())
    differing = [one for one in tensors if one.differs]
    refused = [one for one in differing if one.reason_not_generated is not None]
    generated = [
        one for one in differing if one.reason_not_generated is None and _is_generated(one)
    ]
    names = {one.name for one in generated}
    tied = {name: source for name, source in found.ties.items() if name in names}
    num_values = sum(_size(one) for one in tensors)
    samples = _normalized(found)
    trajectory = trajectory_of(samples, seed=0, runs=torch.tensor(found.runs))
    num_generated = sum(_size(one) for one in generated if one.name not in tied)
    those = "all that differ" if not refused else f"those of the {len(differing)} that differ"
    facts = {
        "Checkpoints": _checkpoints(found),
        **given.facts,
        "Stored as": found.checkpoint_format.description,
        "Tensors": f"{len(tensors)} with {num_values:,} values; {len(differing)} differ",
        "Order": _order(trajectory, found),
        "Would be generated": f"{num_generated:,} parameters in {len(generated)} tensors: {those}"
        if generated
        else _nothing(len(found.names), bool(refused)),
    }
    if tied:
        facts["Tied"] = "; ".join(
            f"{name} is {source}" for name, source in list(tied.items())[:MAX_NAMED]
        )
    copied = [
        one.name
        for one in differing
        if one.reason_not_generated is None and not _is_generated(one)
    ]
    if copied:
        facts["Would be copied"] = f"{first_names(copied)} (counters, as in {found.names[0]})"
    if found.checkpoint_format.left_out:
        facts["Not repeated"] = first_names(found.checkpoint_format.left_out)
    if refused:
        facts["Cannot be generated"] = first_names([one.name for one in refused])
    return Inspection(
        facts,
        _warnings(found, tensors, samples),
        tensors,
        tuple(one.name for one in generated),
        f"tensor {refused[0].name!r} differs between the checkpoints and cannot be generated: "
        f"{refused[0].reason_not_generated}, {SAVE_AGAIN}"
        if refused
        else None,
        found.found.notes,
        len(found.names),
    )


def sources_of(checkpoints: StrPath | Sequence[StrPath]) -> list[str]:
    """Return one source of checkpoints, or several, as a list of strings."""
    if isinstance(checkpoints, str | os.PathLike):
        return [os.fspath(checkpoints)]
    return [os.fspath(source) for source in checkpoints]


def _normalized(found: CheckpointSummary) -> Tensor:
    """The samples ``[N, S]``, each tensor about its mean and over its standard deviation."""
    samples = found.samples.double()
    for place in found.places.values():
        values = samples[:, place]
        samples[:, place] = (values - values.mean()) / values.std().clamp(min=1e-30)
    return samples


def _checkpoints(found: CheckpointSummary) -> str:
    if len(found.names) == 1:
        return f"1, {found.names[0]}"
    num_runs = len(set(found.runs))
    runs = f" in {num_runs} runs" if num_runs > 1 else ""
    return f"{len(found.names)}{runs}, from {found.names[0]} to {found.names[-1]}"


def _nothing(num_checkpoints: int, has_refused: bool) -> str:
    if num_checkpoints == 1:
        return "nothing: it takes several checkpoints"
    return f"nothing: no tensor {'that can be generated ' if has_refused else ''}differs"


def _order(trajectory: Trajectory | None, found: CheckpointSummary) -> str:
    num, num_runs = len(found.names), len(set(found.runs))
    if trajectory is None and num_runs == num > 1:
        return f"{num_runs} runs of one checkpoint each: none follows another"
    if trajectory is None:
        few = "8 checkpoints that differ and hold finite values"
        return f"not tested (it takes {few}{', and three of a run' if num_runs > 1 else ''})"
    ratio = f"successive ones are {trajectory.step_ratio:.2f} times as far apart as any two"
    if trajectory.num_runs > 1:
        order = "each a trajectory" if trajectory.is_ordered else "without an order in time"
        return (
            f"{trajectory.num_runs} runs, {order}: {ratio} of a run; two of different runs are "
            f"{trajectory.between_runs:.2f} times as far apart as two of one"
        )
    if trajectory.num_unrelated == num:
        return f"no trajectory: {ratio}, and no two share a start, as networks of independent runs"
    if trajectory.num_unrelated > 1:
        return (
            f"not one trajectory: the checkpoints fall into {trajectory.num_unrelated} groups "
            "that share nothing, as those of independent runs (give each run its own folder); "
            f"{ratio}"
        )
    return f"one trajectory: {ratio}" if trajectory.is_found else f"no trajectory: {ratio}"


def _warnings(
    found: CheckpointSummary, tensors: Sequence[TensorSummary], samples: Tensor
) -> tuple[str, ...]:
    told = []
    for one in tensors:
        if one.reason_not_generated is not None:
            told.append(
                f"{one.name} differs and cannot be generated: {one.reason_not_generated}, "
                f"{SAVE_AGAIN}"
            )
        if one.broken:
            told.append(f"{one.name} holds NaN or infinite values in {first_names(one.broken)}")
        if one.outlying:
            told.append(
                f"{one.name} holds values in {first_names(one.outlying)} that are over a million "
                "times its usual size"
            )
    if _are_unordered(found, tensors, samples):
        whose = "two runs" if len(set(found.runs)) > 1 else "two checkpoints"
        told.append(
            f"the weights of {whose} have nothing in common, as in networks of independent runs: "
            "their units are in unrelated orders, so an average across runs is no network; SWAG "
            "of each run (MultiSWAG) keeps them apart, and a recipe with their task and "
            "parameters.align=true brings them into one order"
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


def _are_unordered(
    found: CheckpointSummary, tensors: Sequence[TensorSummary], samples: Tensor
) -> bool:
    """Return True if every matrix differs and some checkpoints share no start with the others."""
    matrices = [one for one in tensors if len(one.shape) > 1 and one.scale]
    if not matrices or not all(one.differs and one.name in found.places for one in matrices):
        return False
    columns = torch.cat([samples[:, found.places[one.name]] for one in matrices], 1)
    return bool(torch.isfinite(columns).all()) and bool(related_groups(columns).max() > 0)


def _is_generated(tensor: TensorSummary) -> bool:
    shaped = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return is_generated(tensor.name, shaped)


def _size(tensor: TensorSummary) -> int:
    return torch.Size(tensor.shape).numel() * (2 if tensor.dtype.is_complex else 1)
